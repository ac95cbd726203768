"""A policy gradient finds the best of four one-armed bandits.

A softmax over four numbers is the policy. Each pull pays 1 or -1, and the policy's logits follow
reward * d log(probability of the arm pulled): Williams 1992, "Simple statistical gradient-following algorithms for
connectionist reinforcement learning". Known answer: the arm that pays most often is the last.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad

PAYS = np.array([0.35, 0.5, 0.55, 0.9])  # how often each arm pays


def main(pulls: int = 600) -> None:
    rng = np.random.default_rng(0)
    with ad.Graph(seed=0) as graph:
        arm, reward = ad.placeholder((None,), np.int64, name="arm"), ad.placeholder((None,), name="reward")
        logits = ad.variable(np.zeros((1, len(PAYS)), np.float32), name="policy")
        policy = ad.ops.softmax.softmax(logits)
        chosen = ad.ops.slicing.one_hot(arm, len(PAYS))  # (N, arms)
        log_probability = ad.ops.reductions.reduce_sum(chosen * ad.ops.softmax.log_softmax(logits), axes=1)
        train = ad.optimizers.SGD(0.1).minimize(-ad.ops.reductions.reduce_mean(reward * log_probability))
    session = ad.Session(graph, "cpu")
    paid = []
    for _ in range(pulls):
        probabilities = session.run(policy)[0].astype(np.float64)
        choice = int(rng.choice(len(PAYS), p=probabilities / probabilities.sum()))
        paid.append(1.0 if rng.random() < PAYS[choice] else -1.0)
        expected = np.mean(paid)  # a baseline: what is usual teaches nothing
        session.run(train, {arm: [choice], reward: [paid[-1] - expected]})
    learned = session.run(policy)[0]
    print("policy:", ", ".join(f"{share:.1%}" for share in learned))
    print(f"paid at first {np.mean(paid[:100]):+.2f} a pull, in the end {np.mean(paid[-100:]):+.2f}")
    assert learned.argmax() == PAYS.argmax()
    assert np.mean(paid[-100:]) > np.mean(paid[:100])


if __name__ == "__main__":
    main()
