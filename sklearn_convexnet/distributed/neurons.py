"""The rows of neurons, of one output or shared by several, on the workers."""

from ..program.neuron_shard import BaseNeuronRows


class DaskNeuronRows(BaseNeuronRows):
    """All rows of a collection, with the interface of those in this process.

    What was told to the shards is kept, networks and a few numbers, and told again to one that was
    made anew: nobody else needs to know of a loss.

    Parameters
    ----------
    shards : DaskShards
    problem : NormalisedProblem
        Of a sample: its loss, its penalty and its units are those of all rows.
    total_weight : float
        Sum of the weights of all rows.
    column : int, default=None
        Of the targets; None: all of them.
    """

    # they stay where the rows are
    slopes = None

    def __init__(self, shards, problem, total_weight, column=None):
        self.shards, self.problem, self._weight = shards, problem, total_weight
        self._column = slice(None) if column is None else column
        self._prepare()
        self.n_rows = shards.n_rows

    def _prepare(self):
        problem = self.problem
        units = problem.units.row, problem.units.target
        self.shards.prepare_neurons(
            self._column, problem.loss, problem.alpha, problem.fit_intercept, units, self._weight
        )
        self._token, self._told = self.shards.token, {"layer": [], "slopes": []}

    def map(self, method, *arguments):
        """What a method of the shards returns, for each of them."""
        if self._token != self.shards.token:
            # they have been used for something else
            self._prepare()
        told = [*self._told["layer"], *self._told["slopes"]]
        return self.shards.map_again(told, method, *arguments)

    def tell(self, method, *arguments):
        """Call a method that changes what the shards keep."""
        self.map(method, *arguments)
        about = self._told["layer" if method == "set_layer" else "slopes"]
        if method != "move_slopes":
            about.clear()
        about.append((method, arguments))

    def objective(self, network):
        """Objective of a network of the user."""
        user = self.problem.user
        losses = sum(self.shards.ask("loss_of", network, user.loss, self._column))
        return float(losses / self._weight + user.alpha * network.penalty())
