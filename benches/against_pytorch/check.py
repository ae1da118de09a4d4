"""Checks of `stem.py`: stop-gradient exactly zero, the mix equal to its plain composition, sparse and dense steps equal
where they must be, and, with `--fixture STEM.safetensors`, predictions, losses, gradients and three steps of the reference.
"""

import argparse
import json
import struct

import numpy as np
import torch

from stem import FM, STEM, AllForwardTaskBackward, Cross, Interest, Training, clip, regularize, task_losses

ROWS, FIELDS, TASKS, D, SPECIFIC, SHARED = 40, 4, 3, 4, 2, 2


def small(seed=0, sparse=False):
    torch.manual_seed(seed)
    model = STEM(ROWS, FIELDS, TASKS, D, SHARED, SPECIFIC, (12, 8), (6,), (7, 5), sparse)
    with torch.no_grad():
        model.table.weight.normal_(0, 0.5)  # large enough to see
    return model


def some_batch(rows=64, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, ROWS, (rows, FIELDS))), torch.from_numpy((rng.random((rows, TASKS)) < 0.3).astype("f4"))


def stop_gradient(bf16, sparse, compiled=False):
    model = small(sparse=sparse)
    training = Training(model, bf16=bf16, network=torch.compile(model.network) if compiled else None)
    ids, labels = some_batch()
    for task in range(TASKS):
        model.zero_grad(set_to_none=True)
        task_losses(training.logits(ids), labels)[task].backward()
        table = model.table.weight.grad
        table = (table.to_dense() if sparse else table).unflatten(-1, (TASKS + 1, D))
        experts = model.experts.weights[0].grad.abs().sum((1, 2)), model.experts.biases[-1].grad.abs().sum((1, 2))
        for other in range(TASKS):
            mine = slice(other * SPECIFIC, (other + 1) * SPECIFIC)
            for gradient in experts:
                assert (gradient[mine] == 0).all() if other != task else (gradient[mine] > 0).all(), (task, other)
            reached = table[:, other].abs().sum() > 0
            assert reached == (other == task), (task, other)
            assert (model.gates.weights[0].grad[other].abs().sum() > 0) == (other == task)
            assert (model.towers.weights[0].grad[other].abs().sum() > 0) == (other == task)
        assert all((gradient[TASKS * SPECIFIC :] > 0).all() for gradient in experts) and table[:, TASKS].abs().sum() > 0
        # every expert, other tasks' too, counts in the forward pass: the gate's last layer hears of each
        assert (model.gates.biases[-1].grad[task] != 0).all()


def mix_is_its_composition():
    g = torch.randn(16, TASKS, 8, dtype=torch.float64).softmax(-1).requires_grad_()
    h = torch.randn(16, 8, 5, dtype=torch.float64, requires_grad=True)
    mask, weight = small().mask.double(), torch.randn(16, TASKS, 5, dtype=torch.float64)
    plain = (mask * g) @ h + ((1 - mask) * g) @ h.detach()
    ours = AllForwardTaskBackward.apply(g, h, mask)
    torch.testing.assert_close(ours, plain)
    for a, b in zip(torch.autograd.grad((ours * weight).sum(), [g, h]), torch.autograd.grad((plain * weight).sum(), [g, h])):
        torch.testing.assert_close(a, b)


def what_stands_before_is_its_equation():
    """Attention in its three forms, crosses and products of pairs: row by row and value by value, gradients too."""
    torch.manual_seed(3)
    groups, rows, length, fields = 2, 5, 4, 3
    q, k = torch.randn(groups, rows, D, dtype=torch.float64), torch.randn(groups, rows, length, D, dtype=torch.float64)
    q.requires_grad_(), k.requires_grad_()
    plain = Interest(groups, D, (6, 5), "plain").double()
    found = []
    for form in Interest.FORMS:
        interest = Interest(groups, D, (6, 5), form).double()
        interest.load_state_dict(plain.state_dict())
        parameters = list(interest.parameters())
        v = interest(q, k)
        found.append([v, *torch.autograd.grad(v.square().sum(), [q, k, *parameters])])
    for g, b in np.ndindex(groups, rows):
        expected = 0
        for j in range(length):
            x = torch.cat([q[g, b], k[g, b, j], q[g, b] - k[g, b, j], q[g, b] * k[g, b, j]])
            for layer, (weight, bias) in enumerate(zip(plain.mlp.weights, plain.mlp.biases)):
                x = x @ weight[g] + bias[g, 0]
                x = x.relu() if layer < 2 else x
            expected = expected + x * k[g, b, j] / length
        torch.testing.assert_close(found[0][0][g, b], expected)
    for other in found[1:]:
        for a, b in zip(found[0], other):
            torch.testing.assert_close(a, b)
    x = torch.randn(groups, rows, fields * D, dtype=torch.float64)
    cross, fm = Cross(groups, fields * D, 2, 3).double(), FM(groups, fields, D).double()
    for g, b in np.ndindex(groups, rows):
        y = x[g, b]
        for down, up in zip(cross.maps, cross.back):
            inner = y @ down.weights[0][g] + down.biases[0][g, 0]
            y = x[g, b] * (inner @ up.weights[0][g] + up.biases[0][g, 0]) + y
        torch.testing.assert_close(cross(x)[g, b], y)
        v = x[g, b].view(fields, D)
        pairs = sum(v[i] * v[j] for i in range(fields) for j in range(i + 1, fields))
        torch.testing.assert_close(fm(x)[g, b], pairs @ fm.map.weights[0][g] + fm.map.biases[0][g, 0])


def penalty_is_autograds():
    """`regularize` against autograd's (l2 / 2) ||W||^2, and sparse against dense on the rows a batch touches."""
    ids, labels = some_batch()
    model, l2 = small(), 0.1
    loss = task_losses(model(ids), labels).sum() + l2 / 2 * model.table.weight.square().sum()
    (expected,) = torch.autograd.grad(loss, [model.table.weight])
    losses = task_losses(model(ids), labels).sum()
    losses.backward()
    penalty = regularize(model.table.weight, l2)
    torch.testing.assert_close(losses + penalty, loss)
    torch.testing.assert_close(model.table.weight.grad, expected)
    sparse = small(sparse=True)
    task_losses(sparse(ids), labels).sum().backward()
    regularize(sparse.table.weight, l2)
    touched = ids.unique()
    torch.testing.assert_close(sparse.table.weight.grad.to_dense()[touched], expected[touched])


def clipping_is_pytorchs():
    ids, labels = some_batch()
    for most in (1e-3, 10.0):
        a, b, c = small(), small(), small(sparse=True)
        for model in (a, b, c):
            task_losses(model(ids), labels).sum().backward()
            if model is c:
                c.table.weight.grad = c.table.weight.grad.coalesce()
        torch.nn.utils.clip_grad_norm_(a.parameters(), most)
        clip(b.parameters(), most)
        clip(c.parameters(), most)
        for p, q, r in zip(a.parameters(), b.parameters(), c.parameters()):
            torch.testing.assert_close(q.grad, p.grad)
            torch.testing.assert_close(r.grad.to_dense(), p.grad)


def sparse_steps_are_dense_steps():
    """Where every step touches the same rows, SparseAdam and Adam do the same to them.

    But for epsilon: Adam adds it to the bias-corrected root, SparseAdam to the raw one, so it is made to vanish here.
    """
    ids, labels = some_batch()
    runs = []
    for sparse in (False, True):
        model = small(sparse=sparse)
        training = Training(model, lr=1e-2, l2=0.0, eps=1e-16)
        losses = [training.step(ids, labels) for _ in range(5)]
        assert losses[-1] < losses[0]
        runs.append([p.detach() for p in model.parameters()])
    for dense, sparse in zip(*runs):
        torch.testing.assert_close(dense, sparse, rtol=1e-3, atol=1e-4)


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, body = json.loads(file.read(length)), file.read()
    meta = header.pop("__metadata__")
    kinds = {"F32": "<f4", "I64": "<i8"}
    tensors = {
        name: torch.from_numpy(np.frombuffer(body[slice(*v["data_offsets"])], kinds[v["dtype"]]).reshape(v["shape"]).copy())
        for name, v in header.items()
    }
    return {k: v if k in ("model", "activation", "optimizer") else json.loads(v) for k, v in meta.items()}, tensors


def fixture(path):
    """The reference's numbers for a one-layer STEM."""
    meta, tensors = read(path)
    tasks, dim, vocab = meta["num_tasks"], meta["embedding_dim"], meta["vocab_sizes"]
    specific, shared = meta["num_specific_experts"], meta["num_shared_experts"]
    if meta["model"] != "STEM" or meta["num_layers"] != 1:
        raise SystemExit(f"error: {path} holds {meta['model']} of {meta['num_layers']} layers; a STEM of one layer is checked here")
    hidden, gate, tower = meta["expert_hidden_units"], meta["gate_hidden_units"], meta["tower_hidden_units"]

    def stacked(prefix, names, depth):
        weights, biases = [], []
        for layer in range(depth):
            key = f"{prefix}{{}}.mlp.{2 * layer}"
            weights.append(torch.stack([tensors[key.format(n) + ".weight"].t() for n in names]))
            biases.append(torch.stack([tensors[key.format(n) + ".bias"] for n in names])[:, None])
        return weights + biases

    def gather(kind):
        """Tensors in the order of `model.parameters()`."""
        layer, experts = f"{kind}.stem_layers.0.", []
        names = [f"specific_experts.{t}.{i}" for t in range(tasks) for i in range(specific)] + [f"shared_experts.{i}" for i in range(shared)]
        tables = [tensors[f"{kind}.embedding_layer.embedding_layer.embedding_layers.f{f}.weight"] for f in range(len(vocab))]
        return [
            torch.cat(tables),
            *stacked(layer, names, len(hidden)),
            *stacked(layer + "gate.", range(tasks), len(gate) + 1),
            *stacked(f"{kind}.tower.", range(tasks), len(tower) + 1),
        ]

    model = STEM(sum(vocab), len(vocab), tasks, dim, shared, specific, hidden, gate, tower)
    with torch.no_grad():
        for p, value in zip(model.parameters(), gather("param"), strict=True):
            p.copy_(value)
    offsets = torch.tensor([0, *np.cumsum(vocab)[:-1].tolist()])
    ids, labels, l2 = tensors["input.ids"] + offsets, tensors["input.labels"], meta["embedding_regularizer"]
    padding = offsets  # row 0 of every field is the reference's padding: no gradient there
    worst = {}

    def compare(what, ours, theirs):
        worst[what] = max(worst.get(what, 0.0), (ours - theirs).abs().max().item())

    def gradients(loss):
        found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        found = [torch.zeros_like(p) if g is None else g for g, p in zip(found, model.parameters())]
        found[0][padding] = 0
        return found

    compare("predictions", model(ids).sigmoid().detach(), tensors["output.pred"])
    compare("losses", task_losses(model(ids), labels).detach(), tensors["loss.bce_per_task"])
    for task in range(tasks):
        for ours, theirs in zip(gradients(task_losses(model(ids), labels)[task]), gather(f"grad_task{task}")):
            compare("gradients of each task", ours, theirs)
            assert ((theirs != 0) | (ours == 0)).all(), "a gradient that the reference stops"
    for ours, theirs in zip(gradients(task_losses(model(ids), labels).sum()), gather("grad_noreg")):
        compare("gradients without L2", ours, theirs)
    training = Training(model, lr=meta["learning_rate"], l2=l2, clip_norm=meta["max_gradient_norm"])
    model.table.weight.register_hook(lambda g: g.index_fill(0, padding, 0))
    for _ in range(meta["steps"]):
        training.step(ids, labels)
    after = gather("after_steps.param")
    compare("predictions after steps", model(ids).sigmoid().detach(), tensors["after_steps.pred"])
    for p, value in zip(model.parameters(), after):
        compare("parameters after steps", p.detach(), value)
    for what, error in worst.items():
        print(f"  {what}: largest difference {error:.1e}")
    limits = {"parameters after steps": 1e-3, "predictions after steps": 1e-5, "gradients of each task": 1e-5, "gradients without L2": 1e-5}
    assert all(error <= limits.get(what, 1e-6) for what, error in worst.items()), worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fixture", help="STEM.safetensors of the reference")
    parser.add_argument("--compile", action="store_true", help="the stop-gradient under torch.compile too (a minute)")
    args = parser.parse_args()
    torch.set_num_threads(2)
    for sparse in (False, True):
        for bf16 in (False, True):
            stop_gradient(bf16, sparse)
    print("stop-gradient: exact zeros on other tasks' experts, embeddings, gates and towers (f32, bf16, dense, sparse)")
    if args.compile:
        for bf16 in (False, True):
            stop_gradient(bf16, sparse=False, compiled=True)
        print("the same under torch.compile")
    for check in (mix_is_its_composition, what_stands_before_is_its_equation, penalty_is_autograds, clipping_is_pytorchs, sparse_steps_are_dense_steps):
        check()
        print(check.__name__.replace("_", " ") + ": yes")
    if args.fixture:
        fixture(args.fixture)
        print(f"{args.fixture}: agrees")


if __name__ == "__main__":
    main()
