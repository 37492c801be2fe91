"""A predictor: everything needed to compute the prediction for a scan, without patient data."""

from __future__ import annotations

from pathlib import Path

from ildfv.inference.predict import predict_scan
from ildfv.inference.prediction import Prediction
from ildfv.inference.slice_predictor import SlicePredictor


class Predictor(SlicePredictor):
    """Computes the predictions for new scans with the heads of a study's trained systems. Created by `load`.

    Parameters and attributes are those of `SlicePredictor`, which computes the scores and maps of single slices.
    """

    def predict(
        self, scan: Path | str, *, series: str | None = None, lung_mask: Path | str | None = None
    ) -> Prediction:
        """The prediction for a scan.

        Parameters
        ----------
        scan : path
            A DICOM folder, or a DICOM, NIfTI, NRRD or MetaImage file; for a predictor trained on images, one image.
        series : str, optional
            SeriesInstanceUID of the series to use, or its number in the message that lists the series (1, 2, …; not
            the DICOM SeriesNumber). By default, the series with the most slices is used.
        lung_mask : path, optional
            A file with a lung mask on the grid of the scan; by default, the lung is found by the same method as for the
            training slices.

        Returns
        -------
        Prediction

        Raises
        ------
        InputError
            There is no readable CT scan, there are several patients, the series is unknown, the lung mask cannot be
            used, no slice shows lung, or the scan fails another check.
        """
        return predict_scan(self, Path(scan), series=series, lung_mask=None if lung_mask is None else Path(lung_mask))
