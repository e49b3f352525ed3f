import time
from thorax.artifact import Precision
from thorax.ir.optimize import optimize
from thorax.ir.guard import Watcher


def test_it(fragile, tmp_path, monkeypatch):
    for budget in (0.9, 0.02):
        b = time.time()
        try:
            made = optimize(
                fragile.checkpoint,
                tmp_path / f"o{budget}",
                Precision.INT8,
                store=fragile.store,
                max_auroc_drop=budget,
                watcher=Watcher(print),
            )
            print(
                budget, made.auroc_drop, made.artifact.card.kept, made.bounds.mean, time.time() - b
            )
            for t in made.artifact.card.tried:
                print(t)
        except Exception as e:
            print(repr(e), time.time() - b)
