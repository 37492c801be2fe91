# %% [markdown]
# # Two processes with torchrun
#
#     torchrun --nproc-per-node 2 examples/torchrun_two_processes.py
#
# Each process has one half of the data. EM, PCA and regression sum their statistics over the processes. Both processes
# therefore fit the same models, which agree with the models that one process fits on all data. The script asserts both
# statements. Without torchrun, one process fits the models on all data.
#
# In a workspace, `torchrun --nproc-per-node 2 -m ildfv encode --workspace study` does the same.

# %%
from __future__ import annotations

import numpy as np

from ildfv import PCA, GaussianMixture, MultivariateRegression, distributed

ROWS, FEATURES, COMPONENTS, BATCHES = 20_000, 12, 6, 8


# %%
def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """All batches of descriptors (n, d) and targets (n, 2), equal in every process."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 3, (COMPONENTS, FEATURES))
    x = centres[rng.integers(0, COMPONENTS, ROWS)] + rng.normal(size=(ROWS, FEATURES))
    y = x[:, :2] - 0.5 * x[:, 2:4] + 0.1 * rng.normal(size=(ROWS, 2))
    return list(zip(np.array_split(x, BATCHES), np.array_split(y, BATCHES), strict=True))


def fitted(own: list, start: GaussianMixture, reduce) -> dict[str, np.ndarray]:
    """The parameters of all three models. own: batches of this process; reduce: sums over processes, None for one."""
    x = [rows for rows, _ in own]
    begin = {"weights_init": start.weights_, "means_init": start.means_, "variances_init": start.variances_}
    mixture = GaussianMixture(COMPONENTS, reduce=reduce, **begin).fit(x)
    pca = PCA(4, reduce=reduce).fit(x)
    regression = MultivariateRegression(reduce=reduce).fit(own)
    return {"means": mixture.means_, "variances": mixture.variances_, "axes": pca.components_, "coef": regression.coef_}


# %%
def main() -> dict[str, float]:
    """For each model, the largest difference from the model of one process."""
    distributed.start()
    try:
        all_batches = batches()
        # The start must be the same in all processes: here every process computes it from the same batch.
        start = GaussianMixture(COMPONENTS, max_iter=0, random_state=0).fit(all_batches[0][0])
        reduce = distributed.sum_arrays if distributed.size() > 1 else None
        together = fitted(distributed.share(all_batches), start, reduce)
        alone = fitted(all_batches, start, None)
        for other in distributed.gather(together):
            assert all(np.array_equal(other[name], together[name]) for name in together)  # to the last bit
        differences = {name: float(np.abs(together[name] - alone[name]).max()) for name in together}
        assert max(differences.values()) < 1e-6, differences
        if distributed.is_main():
            size = distributed.size()
            processes = f"{size} process{'es' * (size != 1)}"
            print(f"{processes}, {len(all_batches)} batches: the models are equal in all processes")
            for name, difference in differences.items():
                print(f"{name}: largest difference from one process on all data: {difference:.1e}")
        return differences
    finally:
        distributed.stop()


# %%
if __name__ == "__main__":
    main()
