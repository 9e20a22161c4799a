"""JPEG XL files of the kinds that imagecodecs reads and cannot write, drawn by program."""

import ctypes
import struct

import numpy as np

from resources.images import jpeg_xl


def jxl_of(
    samples: np.ndarray,
    profile: bytes = b"",
    bits: int = 8,
    premultiplied: bool = False,
    lossless: bool = True,
) -> bytes:
    """A JPEG XL of [height, width, 1 to 4] samples, uint8 or uint16, by libjxl itself: imagecodecs passes on no profile."""
    libjxl = jpeg_xl.libjxl_library()
    assert libjxl is not None
    libjxl.JxlEncoderCreate.restype = libjxl.JxlEncoderFrameSettingsCreate.restype = ctypes.c_void_p
    encoder = ctypes.c_void_p(libjxl.JxlEncoderCreate(None))
    height, width, channels = samples.shape
    has_alpha = channels in (2, 4)
    info = ctypes.create_string_buffer(512)  # JxlBasicInfo
    libjxl.JxlEncoderInitBasicInfo(info)
    struct.pack_into("<4I", info, 4, width, height, bits, 0)
    struct.pack_into("<I", info, 36, lossless)  # uses_original_profile
    struct.pack_into("<3I", info, 52, channels - has_alpha, has_alpha, bits * has_alpha)
    assert libjxl.JxlEncoderSetBasicInfo(encoder, info) == 0
    if has_alpha:
        extra = ctypes.create_string_buffer(256)  # JxlExtraChannelInfo
        libjxl.JxlEncoderInitExtraChannelInfo(0, extra)
        struct.pack_into("<I", extra, 4, bits)
        struct.pack_into("<I", extra, 20, premultiplied)
        assert libjxl.JxlEncoderSetExtraChannelInfo(encoder, ctypes.c_size_t(0), extra) == 0
    if profile:
        assert libjxl.JxlEncoderSetICCProfile(encoder, profile, ctypes.c_size_t(len(profile))) == 0
    else:
        srgb = ctypes.create_string_buffer(256)
        libjxl.JxlColorEncodingSetToSRGB(srgb, int(channels < 3))
        assert libjxl.JxlEncoderSetColorEncoding(encoder, srgb) == 0
    settings = ctypes.c_void_p(libjxl.JxlEncoderFrameSettingsCreate(encoder, None))
    libjxl.JxlEncoderSetFrameLossless(settings, int(lossless))
    libjxl.JxlEncoderSetFrameBitDepth(settings, struct.pack("<3I", 1, bits, 0))  # as the codestream has them
    pixel_format = struct.pack("<3IxxxxQ", channels, 2 if samples.dtype == np.uint8 else 3, 0, 0)
    content = samples.tobytes()
    done = libjxl.JxlEncoderAddImageFrame(settings, pixel_format, content, ctypes.c_size_t(len(content)))
    assert done == 0
    libjxl.JxlEncoderCloseInput(encoder)
    out = ctypes.create_string_buffer(1 << 20)
    at, left = ctypes.c_void_p(ctypes.addressof(out)), ctypes.c_size_t(len(out))
    assert libjxl.JxlEncoderProcessOutput(encoder, ctypes.byref(at), ctypes.byref(left)) == 0
    libjxl.JxlEncoderDestroy(encoder)
    return out.raw[: len(out) - left.value]
