"""gAUC of a million rows in 50 thousand groups: pandas with scikit-learn group by group, and NumPy in one sort.

gAUC = sum over groups of n_g AUC_g / sum of n_g; groups with one class only are left out.
"""

import argparse
import json
import time

import numpy as np


def rows(count, groups, seed, ties):
    """Groups of unequal size, scores that know something of the labels; with `ties`, scores in steps of 1/100."""
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0, 0.8, groups)
    group = rng.choice(groups, count, p=activity / activity.sum())
    label = rng.random(count) < 0.25
    score = 1 / (1 + np.exp(-(rng.normal(-1.2, 1, count) + 0.8 * label)))
    return group, (np.round(score, 2) if ties else score).astype(np.float32), label


def by_pandas(group, score, label):
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    frame = pd.DataFrame({"group": group, "score": score, "label": label})
    total = weight = 0.0
    for _, one in frame.groupby("group"):
        if one["label"].nunique() == 2:
            total += len(one) * roc_auc_score(one["label"], one["score"])
            weight += len(one)
    return total / weight


def by_numpy(group, score, label):
    """One sort by group and score; the rest are sums over runs. Tied scores share their mean rank."""
    order = np.lexsort((score, group))
    group, score, label = group[order], score[order], label[order]
    new_group = np.r_[True, group[1:] != group[:-1]]
    new_run = new_group | np.r_[True, score[1:] != score[:-1]]  # a run: one group, one score
    run_starts, group_starts = np.flatnonzero(new_run), np.flatnonzero(new_group)
    run_sizes = np.diff(run_starts, append=len(group))
    sizes = np.diff(group_starts, append=len(group))
    ranks = np.repeat(run_starts + (run_sizes + 1) / 2, run_sizes) - np.repeat(group_starts, sizes)  # from 1 in each group
    positive = np.add.reduceat(label.astype(np.int64), group_starts)
    rank_sums = np.add.reduceat(ranks * label, group_starts)
    both = (positive > 0) & (positive < sizes)
    n, p = sizes[both], positive[both]
    auc = (rank_sums[both] - p * (p + 1) / 2) / (p * (n - p))
    return np.average(auc, weights=n)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5, help="of the NumPy way; pandas runs once")
    parser.add_argument("--ties", action="store_true", help="scores in steps of 1/100")
    parser.add_argument("--numpy-only", action="store_true")
    args = parser.parse_args()
    table = rows(args.rows, args.groups, 1, args.ties)

    def timed(way):
        begun = time.perf_counter()
        value = way(*table)
        return value, time.perf_counter() - begun

    runs = [timed(by_numpy) for _ in range(args.repeats)]
    seconds = sorted(second for _, second in runs)
    line = {"rows": args.rows, "groups": args.groups, "gauc": runs[0][0], "numpy_ms": round(seconds[len(seconds) // 2] * 1e3, 1)}
    if not args.numpy_only:
        value, second = timed(by_pandas)
        assert abs(value - runs[0][0]) < 1e-9, (value, runs[0][0])
        line["pandas_sklearn_s"] = round(second, 2)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
