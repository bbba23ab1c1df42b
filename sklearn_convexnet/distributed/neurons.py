"""The rows of neurons that outputs share, on the workers."""

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
    """

    # they stay where the rows are
    slopes = None

    def __init__(self, shards, problem, total_weight):
        self.shards, self.problem, self._weight = shards, problem, total_weight
        units = problem.units.row, problem.units.target
        shards.prepare_neurons(
            problem.loss, problem.alpha, problem.fit_intercept, units, total_weight
        )
        self.n_rows = shards.n_rows
        self._told = {"layer": [], "slopes": []}

    def map(self, method, *arguments):
        """What a method of the shards returns, for each of them."""
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
        losses = sum(self.shards.ask("loss_of", network, user.loss, slice(None)))
        return float(losses / self._weight + user.alpha * network.penalty())
