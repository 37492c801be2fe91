# %% [markdown]
# # A study on phantoms, from scans to the prediction for a new scan
#
# The commands `phantom`, `prepare`, `folds`, `encode`, `regress`, `export` and `predict` are called as functions. All
# scans are generated. The numbers show that the software runs; they have no clinical meaning.
#
#     python examples/phantom_study.py
#
# Files are written to the folder phantom-study. To resume an interrupted run, run the script again. With scans of your
# own, omit `write_phantoms`.

# %%
from __future__ import annotations

from pathlib import Path

from ildfv.inference import Predictor
from ildfv.inference.outputs import write_prediction
from ildfv.phantom import write_phantoms
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace

PATIENTS, SLICES, COMPONENTS = 9, 6, 8


# %% [markdown]
# From scans to slices: `prepare_scans` checks the DICOM series and their label maps, windows the slices and counts the
# pixels of each pattern.


# %%
def prepared(folder: Path, patients: int, slices: int) -> Path:
    """The workspace with the slices of all phantoms, and with folds by patient."""
    study = folder / "study"
    write_phantoms(folder / "scans", patients=patients, slices_per_scan=slices, seed=0)
    report = prepare_scans(folder / "scans", study)
    print(f"{report['workspace']['slices']} slices of {report['workspace']['scans']} scans")
    if not Workspace.open(study).folds_file.exists():
        write_folds(Workspace.open(study), n_folds=3)
    return study


# %% [markdown]
# The mixture, the PCA and the regression are fitted on the fit patients, and the thresholds and the calibration on the
# validation patients. The results are for the patients of fold 0, who are in neither group.


# %%
def scored(study: Path) -> dict:
    """The results on the held-out patients, as a JSON document."""
    encode_slices(study, EncodeSettings(layer="filters", region="lung", components=COMPONENTS), device="cpu")
    results = regress_encoding(study, layer="filters", region="lung", head="ridge", target="step")
    assert results is not None  # None only under torchrun, on ranks other than 0
    for pattern, row in results.per_pattern.items():
        auc = "undefined" if row.auc is None else f"{row.auc:.2f}"
        print(f"{pattern}: AUC {auc} on {results.n_slices} slices of {results.n_patients} held-out phantoms")
    return results.to_dict()


# %% [markdown]
# The predictor contains no slices and no identities. It is applied to a phantom that no model has seen.


# %%
def predicted(study: Path, folder: Path, slices: int) -> dict:
    """The prediction for a new phantom, as a JSON document. Files with its page and maps are also written."""
    export_predictor(study, folder / "predictor", layer="filters", region="lung")
    (new,) = write_phantoms(folder / "new", patients=1, slices_per_scan=slices, seed=1)
    answer = Predictor.load(folder / "predictor").predict(new / "ct")
    write_prediction(folder / "answer", answer)
    document = answer.to_dict()
    for pattern, row in document["heads"][document["primary_head"]]["scan"].items():
        print(f"{pattern}: {'present' if row['present'] else 'absent'}, on {row['slices']} of {slices} slices")
    print(f"Page: {folder / 'answer' / 'prediction.html'}")
    return document


# %%
def main(folder: Path = Path("phantom-study"), patients: int = PATIENTS, slices: int = SLICES) -> dict:
    """The results on held-out phantoms and the prediction for a new one."""
    study = prepared(folder, patients, slices)
    return {"results": scored(study), "answer": predicted(study, folder, slices)}


# %%
if __name__ == "__main__":
    main()
