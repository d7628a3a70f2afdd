"""Products of the curvature of a loss with vectors, without forming the matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, final

import torch
from torch import Tensor, nn
from torch.autograd import grad

from ...core.errors import UsageError
from ...train import available_memory, batch_length
from ._loss_over import Loss, LossOver, Mode

Kind = Literal["hessian", "gauss_newton", "empirical_fisher"]
KINDS = ("hessian", "gauss_newton", "empirical_fisher")

_CUTS = ("torch::autograd::Error", "torch::autograd::NotImplemented")
_TWICE = (
    "Curvature: `model` must be differentiable twice; got {}. Take another form of that operation."
)


class Symmetric(Protocol):
    """A symmetric matrix that is known by its products."""

    @property
    def size(self) -> int:
        """Number of rows."""
        ...

    @property
    def like(self) -> Tensor:
        """A tensor with the dtype and device of the vectors."""
        ...

    def product(self, vector: Tensor) -> Tensor:
        """Give the product with a vector.

        Args:
            vector: As many numbers as there are rows.
        """
        ...


@final
@dataclass(frozen=True)
class Graph:
    """What is kept of one batch: the ends of a graph that is walked once more per product.

    Args:
        grads: First gradients by weight, as functions of the weights (or of `handle`).
        outputs: Of the model; None for the Hessian.
        handle: Zeros that `grads` are linear in; None for the Hessian.
        slope: Gradient of the loss with respect to `leaf`.
        leaf: The outputs, cut from the graph.
    """

    grads: tuple[Tensor, ...]
    outputs: Tensor | None = None
    handle: Tensor | None = None
    slope: Tensor | None = None
    leaf: Tensor | None = None


@final
class Curvature:
    """The curvature matrix of a loss at the present weights of a model, known by its products.

    For what needs products alone: eigenvalues (`extreme_eigenvalues`), the whole spectrum
    (`spectral_density`), the trace (`estimate_trace`), or a solver of your own. `critical_point`
    asks all of them at once. A product costs about two backward passes, since the graph of
    the first gradients is kept. Batches are read once and stay in memory.

        hessian           Hv = ∇(∇L · v)
        gauss_newton      Gv = Jᵀ ∇²ℓ J v           J: outputs by weights, ℓ: loss of outputs
        empirical_fisher  Fv = 1/N Σₙ gₙ (gₙ · v)    gₙ: gradient of the loss of example n

    `gauss_newton` is never indefinite for a convex loss of outputs, and is the true Fisher matrix
    for cross entropy. `empirical_fisher` takes the given labels, is not the true one, and needs
    outputs with the examples first. The model, its gradients, buffers and modes, the position of
    the batches and the global random generators are left as they were; later changes of the
    model do not change what was made.

        hessian = Curvature(model, loss, batches)
        print(extreme_eigenvalues(hessian, largest=5).values)

    Args:
        model: On its device; frozen parameters stay out.
        loss: ``loss(outputs, targets)``, a mean over the examples of a batch.
        batches: Pairs of inputs and targets, or one such pair of tensors.
        kind: Which matrix.
        mode: In `eval`, batch norm takes its moving averages and dropout is off. In `train`, each
            batch is normalized by its own statistics, and dropout has one fixed noise.
        keep_graphs: Keep the graph of each batch as long as half of the memory that was free stays
            free; without, each product computes it anew, which takes about twice as long.
        seed: Of the dropout noise.

    Raises:
        UsageError: There is no batch or no trainable parameter, or `loss` gives no single number.
        TrainingError: A loss is infinite or NaN.

    Source: pearlmutter1994fast, section 2; schraudolph2002fast, for `gauss_newton`;
        kunstner2019limitations, for the two Fishers.
    Differs: reverse over reverse, not forward over reverse: the kept graph makes it faster.
    Checked against: torch.func.hessian; sums over labels and over examples, written out.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Any,
        *,
        kind: Kind = "hessian",
        mode: Mode = "eval",
        keep_graphs: bool = True,
        seed: int = 0,
    ) -> None:
        if kind not in KINDS:
            raise UsageError(f"Curvature: `kind` must be one of {KINDS}; got {kind!r}.")
        self.kind = kind
        self.over = LossOver("Curvature", model, loss, batches, mode, seed)
        self._leaves = [w.clone().requires_grad_() for w in self.over.weights.values()]
        self.size = sum(leaf.numel() for leaf in self._leaves)
        self.loss = 0.0
        self.gradient = torch.zeros_like(self._flat(self._leaves))
        self._graphs: list[Graph | None] = []
        free = _free_memory(self.over.device)
        for place in range(len(self.over.batches)):
            graph = self._graph(place, first=True)
            left = _free_memory(self.over.device)
            tight = free is not None and left is not None and left < free / 2
            self._graphs.append(graph if keep_graphs and not tight else None)

    @property
    def like(self) -> Tensor:
        """A tensor with the dtype and device of the vectors."""
        return self.gradient

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """Cut a flat vector into tensors by the names of the weights.

        Args:
            vector: As many numbers as there are weights.
        """
        return dict(zip(self.over.weights, self._split(vector), strict=True))

    def flat(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Join tensors by the names of the weights to a flat vector.

        Args:
            tensors: One per weight; others are passed over.
        """
        return self._flat([tensors[name] for name in self.over.weights])

    def product(self, vector: Tensor) -> Tensor:
        """Give the product of the matrix with a vector.

        Args:
            vector: As many numbers as there are weights, in the order of ``named_parameters()``.

        Raises:
            UsageError: The length is wrong, or the model cannot be differentiated twice.
        """
        if vector.shape != (self.size,):
            raise UsageError(
                f"Curvature: `vector` must have shape ({self.size},); got {tuple(vector.shape)}."
            )
        parts, total = self._split(vector), None
        for place, kept in enumerate(self._graphs):
            graph = kept or self._graph(place)
            found = self._flat(self._through(graph, parts, place, keep=kept is not None))
            total = found if total is None else total.add_(found)
        return torch.zeros_like(self.gradient) if total is None else total

    def matrix(self) -> Tensor:
        """Give the whole matrix, one product per row; for some thousand weights at most."""
        unit = torch.eye(self.size, dtype=self.like.dtype, device=self.like.device)
        rows = torch.stack([self.product(row) for row in unit])
        return (rows + rows.T) / 2

    def _graph(self, place: int, *, first: bool = False) -> Graph:
        """Run one batch forward and once backward, so that it can be walked once more."""
        weights = dict(zip(self.over.weights, self._leaves, strict=True))
        with self.over.quiet(), torch.enable_grad():
            outputs = self.over.outputs(place, weights)
            if self.kind == "hessian":
                loss = self.over.of(outputs, place)
                graph = Graph(self._grads(loss))
                slopes = graph.grads
            else:
                leaf = self._leaf(outputs)
                loss = self.over.of(leaf, place)
                (slope,) = grad(loss, leaf, create_graph=True, materialize_grads=True)
                handle = torch.zeros_like(leaf, requires_grad=True)
                graph = Graph(self._grads(outputs, handle), outputs, handle, slope, leaf)
                slopes = self._grads(outputs, slope.detach()) if first else ()
        if first:
            self._check_twice(graph)
            self.loss += float(loss.detach())
            self.gradient += self._flat([slope.detach() for slope in slopes])
        return graph

    def _check_twice(self, graph: Graph) -> None:
        """Refuse what torch would silently count as zero: gradients cut from the graph."""
        todo = [g.grad_fn for g in graph.grads]
        seen = set()
        while todo:
            node = todo.pop()
            if node is None or node in seen:
                continue
            if node.name() in _CUTS:
                raise UsageError(_TWICE.format("an operation without second gradients"))
            seen.add(node)
            todo += [following for following, _ in node.next_functions]

    def _grads(self, end: Tensor, weight: Tensor | None = None) -> tuple[Tensor, ...]:
        if not end.requires_grad:
            raise UsageError("Curvature: `loss` must depend on the weights; got one that does not.")
        return grad(end, self._leaves, weight, create_graph=True, materialize_grads=True)

    def _leaf(self, outputs: Any) -> Tensor:
        if not isinstance(outputs, Tensor):
            raise UsageError(
                f"Curvature: the outputs must be one tensor for kind={self.kind!r}; got a"
                f" {type(outputs).__name__}. Wrap the model, or take kind='hessian'."
            )
        return outputs.detach().requires_grad_()

    def _through(
        self, graph: Graph, parts: Sequence[Tensor], place: int, *, keep: bool
    ) -> tuple[Tensor, ...]:
        """Walk a graph once more: the product of one batch's matrix with a vector."""
        ends = [(g, part) for g, part in zip(graph.grads, parts, strict=True) if g.requires_grad]
        if not ends:  # the loss is linear in the weights
            return tuple(torch.zeros_like(leaf) for leaf in self._leaves)
        gs, vs = [g for g, _ in ends], [v for _, v in ends]
        try:
            if graph.handle is None:
                return grad(gs, self._leaves, vs, retain_graph=keep, materialize_grads=True)
            (moved,) = grad(gs, graph.handle, vs, retain_graph=True)
        except RuntimeError as err:
            if "derivative for" not in str(err) and "not differentiable" not in str(err):
                raise
            raise UsageError(_TWICE.format(err)) from err
        bent = self._bent(graph, moved, place)
        outputs = [] if graph.outputs is None else [graph.outputs]
        return grad(outputs, self._leaves, [bent], retain_graph=keep, materialize_grads=True)

    def _bent(self, graph: Graph, moved: Tensor, place: int) -> Tensor:
        """Multiply a change of the outputs with the matrix in the middle."""
        slope, leaf = graph.slope, graph.leaf
        if slope is None or leaf is None:
            return moved
        if self.kind == "empirical_fisher":
            count = batch_length(self.over.batches[place][0])
            if leaf.dim() == 0 or len(leaf) != count:
                raise UsageError(
                    f"Curvature: the outputs must have the {count} examples first for"
                    f" kind='empirical_fisher'; got shape {tuple(leaf.shape)}."
                )
            per_example = (slope * moved).reshape(count, -1).sum(1)
            # The slope is that of share · mean: times count / share it is that of one example.
            scale = count / self.over.shares[place]
            return slope.detach() * per_example.detach().view(-1, *[1] * (leaf.dim() - 1)) * scale
        if not slope.requires_grad:
            return torch.zeros_like(leaf)
        (bent,) = grad(slope, leaf, moved, retain_graph=True, materialize_grads=True)
        return bent

    def _split(self, vector: Tensor) -> list[Tensor]:
        pieces = torch.split(vector, [leaf.numel() for leaf in self._leaves])
        return [
            piece.view(leaf.shape).to(leaf)
            for piece, leaf in zip(pieces, self._leaves, strict=True)
        ]

    @staticmethod
    def _flat(tensors: Sequence[Tensor]) -> Tensor:
        first = tensors[0]
        return torch.cat([t.detach().reshape(-1).to(first.device) for t in tensors])


@final
@dataclass(frozen=True)
class Dense:
    """A symmetric matrix that is there.

    Args:
        like: The matrix.
    """

    like: Tensor

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.like)

    def product(self, vector: Tensor) -> Tensor:
        """Give the product with a vector.

        Args:
            vector: As many numbers as there are rows.
        """
        return self.like @ vector


def as_symmetric(owner: str, matrix: Curvature | Tensor) -> Symmetric:
    """Take a tensor for the matrix that it is.

    Args:
        owner: Who asks, for messages.
        matrix: Known by its products, or a square tensor.
    """
    if not isinstance(matrix, Tensor):
        return matrix
    square = matrix.dim() == 2 and matrix.shape[0] == matrix.shape[1] > 0
    if not square or not torch.allclose(matrix, matrix.T):
        raise UsageError(
            f"{owner}: `matrix` must be symmetric; got a tensor of shape {tuple(matrix.shape)}."
        )
    return Dense(matrix.detach())


def _free_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory() if device.type == "cpu" else None
