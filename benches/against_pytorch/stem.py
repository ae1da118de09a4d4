"""STEM (Su et al., AAAI 2024) in PyTorch, written to be quick on a CPU: what the Rust library is compared with.

B rows, F fields, T tasks, D width of one embedding, E experts, H width of an expert's output.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.amp import custom_bwd, custom_fwd
from torch.nn.utils import get_total_norm


class StackedMLP(nn.Module):
    """`count` perceptrons of one shape side by side: one batched product a layer instead of `count` small ones.

    [count, B, widths[0]] -> [count, B, widths[-1]], ReLU between layers and, with `last_relu`, after the last.
    """

    def __init__(self, count, widths, last_relu):
        super().__init__()
        shapes = list(zip(widths, widths[1:]))
        self.weights = nn.ParameterList(
            torch.randn(count, i, o) * math.sqrt(2 / (i + o)) for i, o in shapes  # Xavier-normal
        )
        self.biases = nn.ParameterList(torch.zeros(count, 1, o) for _, o in shapes)
        self.relus = len(shapes) if last_relu else len(shapes) - 1

    def forward(self, x):
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(bias, x, weight)
            if layer < self.relus:
                x = F.relu(x, inplace=True)
        return x


class AllForwardTaskBackward(torch.autograd.Function):
    """O = G h for every row; backward, the loss of task t reaches h_e only where mask[t, e] is 1.

    The same as `(mask * g) @ h + ((1 - mask) * g) @ h.detach()`, with one product instead of two.
    """

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # takes effect under autocast only
    def forward(ctx, g, h, mask):  # [B, T, E], [B, E, H], [T, E]
        ctx.save_for_backward(g, h, mask)
        return g @ h

    @staticmethod
    @custom_bwd(device_type="cpu")
    def backward(ctx, grad):  # [B, T, H]
        g, h, mask = ctx.saved_tensors
        return grad @ h.transpose(1, 2), (g * mask).transpose(1, 2) @ grad, None


class STEM(nn.Module):
    """Every table row holds [task 0 | ... | task T-1 | shared]; all fields lie in one table, ids carry their field's offset."""

    def __init__(
        self,
        rows,
        fields,
        tasks=2,
        dim=16,
        shared=8,
        specific=1,
        hidden=(512, 512, 512),
        gate=(128, 64),
        tower=(128, 64),
        sparse=False,
    ):
        super().__init__()
        self.tasks, self.shared, self.specific, self.dim = tasks, shared, specific, dim
        experts = tasks * specific + shared
        weight = torch.empty(rows, (tasks + 1) * dim).normal_(0, 1e-4)
        self.table = nn.Embedding.from_pretrained(weight, freeze=False, sparse=sparse)
        self.experts = StackedMLP(experts, (fields * dim, *hidden), last_relu=True)
        self.gates = StackedMLP(tasks, (fields * dim, *gate, experts), last_relu=False)
        self.towers = StackedMLP(tasks, (hidden[-1], *tower, 1), last_relu=False)
        owner = torch.arange(experts) // specific  # shared experts come last, and number beyond the tasks
        reaches = (owner == torch.arange(tasks)[:, None]) | (torch.arange(experts) >= tasks * specific)
        self.register_buffer("mask", reaches.float(), persistent=False)  # [T, E]

    def embed(self, ids):
        """Ids [B, F] to x [T + 1, B, F * D]."""
        x = self.table(ids).unflatten(-1, (self.tasks + 1, self.dim))  # [B, F, T + 1, D]
        return x.permute(2, 0, 1, 3).flatten(2)

    def network(self, x):
        """x [T + 1, B, F * D] to logits [B, T]."""
        own, common = x[:-1], x[-1:]
        inputs = torch.cat([own.repeat_interleave(self.specific, 0), common.expand(self.shared, -1, -1)])
        h = self.experts(inputs)  # [E, B, H]
        g = self.gates(own + common).softmax(-1)  # [T, B, E]
        o = AllForwardTaskBackward.apply(g.transpose(0, 1), h.transpose(0, 1), self.mask)  # [B, T, H]
        return self.towers(o.transpose(0, 1)).squeeze(-1).t()

    def forward(self, ids):
        return self.network(self.embed(ids))


def task_losses(logits, labels):
    """Mean binary cross-entropy of each task, [T]."""
    return F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none").mean(0)


@torch.no_grad()
def regularize(table, l2):
    """Adds the gradient of (l2 / 2) ||rows||^2 to what `backward` left, and returns that penalty.

    Rows: the whole table, or with a sparse gradient the rows it holds. Autograd would do the same in more passes.
    """
    rows, gradient = table, table.grad
    if gradient.is_sparse:
        table.grad = table.grad.coalesce()  # one entry for each distinct row
        rows, gradient = table[table.grad.indices()[0]], table.grad.values()
    gradient.add_(rows, alpha=l2)
    return torch.linalg.vector_norm(rows).square() * (l2 / 2)


@torch.no_grad()
def clip(parameters, most):
    """`clip_grad_norm_`, but for sparse gradients too, and without a pass over the gradients where there is nothing to clip."""
    gradients = [p.grad.values() if p.grad.is_sparse else p.grad for p in parameters if p.grad is not None]
    norm = get_total_norm(gradients)
    if norm > most:
        for gradient in gradients:
            gradient.mul_(most / (norm + 1e-6))
    return norm


class Training:
    """The model's optimizers and one whole step: forward, loss with L2, backward, clip, Adam."""

    def __init__(self, model, lr=1e-3, l2=1e-6, clip_norm=10.0, eps=1e-8, bf16=False, network=None):
        self.model, self.l2, self.clip_norm, self.bf16 = model, l2, clip_norm, bf16
        self.network = network or model.network
        table = model.table.weight
        rest = [p for p in model.parameters() if p is not table]
        if model.table.sparse:
            self.optimizers = [
                torch.optim.SparseAdam([table], lr=lr, eps=eps),
                torch.optim.Adam(rest, lr=lr, eps=eps, fused=True),
            ]
        else:
            self.optimizers = [torch.optim.Adam([table, *rest], lr=lr, eps=eps, fused=True)]

    def logits(self, ids):
        x = self.model.embed(ids)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return self.network(x)

    def step(self, ids, labels):
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = task_losses(self.logits(ids), labels).sum()
        loss.backward()
        loss = loss.detach() + regularize(self.model.table.weight, self.l2)
        clip(self.model.parameters(), self.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def score(self, ids):
        """Probabilities, [B, T]."""
        return torch.sigmoid(self.logits(ids).float())
