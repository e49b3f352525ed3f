"""What others do to a picture that they copy."""

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


def recompressed(image: Image) -> Image:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
