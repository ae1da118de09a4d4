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
        return self.layers(x, 0)

    def rest(self, x):
        """All but the first map and its ReLU."""
        return self.layers(x, 1)

    def layers(self, x, first):
        for layer in range(first, len(self.weights)):
            x = torch.baddbmm(self.biases[layer], x, self.weights[layer])
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


class Interest(nn.Module):
    """Target attention (DIN): every group weighs the values of a history by its candidate.

    v = 1/L sum_j a_j k_j,  a_j = MLP([q ; k_j ; q - k_j ; q * k_j]); q [G, B, D], k [G, B, L, D] to v [G, B, D].

    The first map is linear in its input, so it can be taken apart (`FORMS`):
        plain    the four parts side by side, one product
        parts    (W_q + W_d) q once a row, [W_k - W_d ; W_m] [k ; q * k] a value
        folded   the same, the second as (W_k - W_d + diag(q) W_m) k: a matrix for every row
    """

    FORMS = ("plain", "parts", "folded")

    def __init__(self, groups, dim, hidden=(32, 16), form="parts"):
        super().__init__()
        self.mlp, self.form = StackedMLP(groups, (4 * dim, *hidden, 1), last_relu=False), form
        with torch.no_grad():
            self.mlp.biases[-1].fill_(1.0)  # the bag, before anything is learned

    def forward(self, q, k):
        groups, rows, length, dim = k.shape
        if self.form == "plain":
            q = q.unsqueeze(2).expand_as(k)
            a = self.mlp(torch.cat([q, k, q - k, q * k], -1).flatten(1, 2))  # [G, B L, 1]
        else:
            of_q, of_k, of_difference, of_product = self.mlp.weights[0].split(dim, 1)  # [G, D, H] each
            of_rows = torch.baddbmm(self.mlp.biases[0], q, of_q + of_difference).unsqueeze(2)  # [G, B, 1, H]
            if self.form == "parts":
                values = torch.cat([k, q.unsqueeze(2) * k], -1).flatten(1, 2)  # [G, B L, 2 D]
                z = (values @ torch.cat([of_k - of_difference, of_product], 1)).unflatten(1, (rows, length)) + of_rows
            else:
                folded = (of_k - of_difference).unsqueeze(1) + q.unsqueeze(3) * of_product.unsqueeze(1)  # [G, B, D, H]
                z = k @ folded + of_rows
            a = self.mlp.rest(F.relu(z.flatten(1, 2), inplace=True))  # [G, B L, 1]
        a = a.view(groups, rows, 1, length) / length
        return (a @ k).squeeze(2)


class Cross(nn.Module):
    """DCN-v2 of low rank: x_{l+1} = x_0 * (U_l (V_l x_l) + b_l) + x_l. [G, B, I] to [G, B, I]."""

    def __init__(self, groups, width, layers, rank):
        super().__init__()
        self.maps = nn.ModuleList(StackedMLP(groups, (width, rank), False) for _ in range(layers))
        self.back = nn.ModuleList(StackedMLP(groups, (rank, width), False) for _ in range(layers))

    def forward(self, x0):
        x = x0
        for down, up in zip(self.maps, self.back):
            x = torch.addcmul(x, x0, up(down(x)))
        return x


class FM(nn.Module):
    """Products of pairs of fields: W (1/2 ((sum_f v_f)^2 - sum_f v_f^2)) + c. [G, B, F * D] to [G, B, F * D]."""

    def __init__(self, groups, fields, dim):
        super().__init__()
        self.map, self.fields = StackedMLP(groups, (dim, fields * dim), False), fields

    def forward(self, x):
        v = x.unflatten(-1, (self.fields, -1))  # [G, B, F, D]
        pairs = (v.sum(2).square() - v.square().sum(2)) * 0.5
        return self.map(pairs)


class STEM(nn.Module):
    """Every table row holds [task 0 | ... | task T-1 | shared]; all fields lie in one table, ids carry their field's offset.

    With `history` slots, ids [B, F + history] end with a history of the values of field `CANDIDATE`: one field more, its mean or,
    `attended`, what target attention makes of it.
    """

    CANDIDATE = 1

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
        history=0,
        attended=None,
        cross=0,
        rank=16,
        fm=False,
    ):
        super().__init__()
        self.tasks, self.shared, self.specific, self.dim = tasks, shared, specific, dim
        self.fields, self.history = fields, history
        experts, groups = tasks * specific + shared, tasks + 1
        fields += history > 0
        self.interest = Interest(groups, dim, form=attended) if attended else None
        self.cross = Cross(groups, fields * dim, cross, rank) if cross else None
        self.fm = FM(groups, fields, dim) if fm else None
        weight = torch.empty(rows, (tasks + 1) * dim).normal_(0, 1e-4)
        self.table = nn.Embedding.from_pretrained(weight, freeze=False, sparse=sparse)
        self.experts = StackedMLP(experts, (fields * dim, *hidden), last_relu=True)
        self.gates = StackedMLP(tasks, (fields * dim, *gate, experts), last_relu=False)
        self.towers = StackedMLP(tasks, (hidden[-1], *tower, 1), last_relu=False)
        owner = torch.arange(experts) // specific  # shared experts come last, and number beyond the tasks
        reaches = (owner == torch.arange(tasks)[:, None]) | (torch.arange(experts) >= tasks * specific)
        self.register_buffer("mask", reaches.float(), persistent=False)  # [T, E]

    def by_group(self, rows):
        """[B, F, W] to [T + 1, B, F, D]."""
        return rows.unflatten(-1, (self.tasks + 1, self.dim)).permute(2, 0, 1, 3)

    def embed(self, ids):
        """What `network` reads of the table. Ids [B, F] or [B, F + L] to x [T + 1, B, F * D], and k [T + 1, B, L, D] of an attended history."""
        if not self.history:
            return (self.by_group(self.table(ids)).flatten(2),)
        if self.interest is None:
            fields, history = ids[:, : self.fields], ids[:, self.fields :]
            bag = F.embedding_bag(history, self.table.weight, mode="mean", sparse=self.table.sparse)  # [B, W]
            return (self.by_group(torch.cat([self.table(fields), bag.unsqueeze(1)], 1)).flatten(2),)
        rows = self.by_group(self.table(ids))
        return rows[:, :, : self.fields].flatten(2), rows[:, :, self.fields :]

    def network(self, x, k=None):
        """x [T + 1, B, F * D] to logits [B, T]."""
        if k is not None:
            q = x[..., self.CANDIDATE * self.dim : (self.CANDIDATE + 1) * self.dim]
            x = torch.cat([x, self.interest(q, k)], -1)
        if self.cross is not None or self.fm is not None:
            crossed = self.cross(x) if self.cross is not None else x
            x = crossed + self.fm(x) if self.fm is not None else crossed
        own, common = x[:-1], x[-1:]
        inputs = torch.cat([own.repeat_interleave(self.specific, 0), common.expand(self.shared, -1, -1)])
        h = self.experts(inputs)  # [E, B, H]
        g = self.gates(own + common).softmax(-1)  # [T, B, E]
        o = AllForwardTaskBackward.apply(g.transpose(0, 1), h.transpose(0, 1), self.mask)  # [B, T, H]
        return self.towers(o.transpose(0, 1)).squeeze(-1).t()

    def forward(self, ids):
        return self.network(*self.embed(ids))


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
        read = self.model.embed(ids)
        with torch.autocast(read[0].device.type, torch.bfloat16, enabled=self.bf16):
            return self.network(*read)

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
