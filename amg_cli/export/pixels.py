"""What lies between images of any size and a network, in ONNX's own text.

A network knows its input's size alone; these graphs go before and after it. They are those of
`core/frame.py`: an image is scaled so that it fits, as Pillow does it, and padded right and below;
masks go back in two bilinear steps, the padding cut between. Opset 18 has what they need.
"""

from __future__ import annotations

from amg_cli.models.configs import SamConfig

# Of a `size`, (2,) float64, height and width: `resized`, and `padded`, what the network gets.
_SIZES = """
   bound = Constant<value = double[2] {%(height)s, %(width)s}>()
   ratios = Div(bound, size)
   scale = ReduceMin<keepdims = 1>(ratios)
   half = Constant<value = double {0.5}>()
   scaled = Mul(size, scale)
   moved = Add(scaled, half)
   whole = Floor(moved)
   one = Constant<value = double {1.0}>()
   resized_double = Max(whole, one)
   resized = Cast<to = 7>(resized_double)
   %(padded)s
"""
_FIXED = "padded = Cast<to = 7>(bound)"
_WHOLE_CELLS = """
   cell = Constant<value = double {%(stride)s}>()
   cells = Div(resized_double, cell)
   whole_cells = Ceil(cells)
   padded_double = Mul(whole_cells, cell)
   padded = Cast<to = 7>(padded_double)
"""

BEFORE_ENCODER = """<ir_version: 8, opset_import: ["" : %(opset)s]>
before (uint8[height, width, %(channels)s] image) => (float[1, %(channels)s, H, W] input) {
   shape = Shape<start = 0, end = 2>(image)
   size = Cast<to = 11>(shape)
   %(sizes)s
   pixels = Resize<
      mode = "linear", coordinate_transformation_mode = "half_pixel", antialias = 1, axes = [0, 1]
   >(image, , , resized)
   numbers = Cast<to = 1>(pixels)
   mean = Constant<value = float[%(channels)s] {%(mean)s}>()
   std = Constant<value = float[%(channels)s] {%(std)s}>()
   centred = Sub(numbers, mean)
   normalised = Div(centred, std)
   channels_first = Transpose<perm = [2, 0, 1]>(normalised)
   none = Constant<value = int64[3] {0, 0, 0}>()
   missing = Sub(padded, resized)
   no_channel = Constant<value = int64[1] {0}>()
   pads = Concat<axis = 0>(none, no_channel, missing)
   filled = Pad(channels_first, pads)
   first = Constant<value = int64[1] {0}>()
   input = Unsqueeze(filled, first)
}
"""

# Points of the image, in pixels, to pixels of the input.
BEFORE_POINTS = """<ir_version: 8, opset_import: ["" : %(opset)s]>
before (float[N, 2] points, float[2] orig_im_size) => (float[N, 2] points_xy) {
   size = Cast<to = 11>(orig_im_size)
   %(sizes)s
   by_axis = Div(resized_double, size)
   back = Constant<value = int64[2] {1, 0}>()
   scale_xy = Gather(by_axis, back)
   points_double = Cast<to = 11>(points)
   placed = Mul(points_double, scale_xy)
   points_xy = Cast<to = 1>(placed)
}
"""

# Low-resolution logits to the image's size; M masks of N prompts.
_FULL_SIZE = """
   size = Cast<to = 11>(orig_im_size)
   %(sizes)s
   full = Resize<
      mode = "linear", coordinate_transformation_mode = "half_pixel", axes = [2, 3]
   >(low_res_masks, , , padded)
   from = Constant<value = int64[2] {0, 0}>()
   axes = Constant<value = int64[2] {2, 3}>()
   cut = Slice(full, from, resized, axes)
   image_size = Cast<to = 7>(orig_im_size)
   masks = Resize<
      mode = "linear", coordinate_transformation_mode = "half_pixel", axes = [2, 3]
   >(cut, , , image_size)
"""

AFTER_DECODER = """<ir_version: 8, opset_import: ["" : %(opset)s]>
after (float[N, M, h, w] low_res_masks, float[2] orig_im_size) => (float[N, M, H, W] masks) {
   %(full_size)s
}
"""

# What is counted on each mask at the image's size, with the model's threshold: its pixels, its
# stability score, and its box, both of whose corners are inside; -1 for an empty mask's.
AFTER_POINTS = """<ir_version: 8, opset_import: ["" : %(opset)s]>
after (float[N, M, h, w] low_res_masks, float[2] orig_im_size, float[1] stability_offset)
   => (int64[N, M] areas, float[N, M] stability_scores, int64[N, M, 4] boxes) {
   %(full_size)s
   threshold = Constant<value = float[1] {%(threshold)s}>()
   over = Greater(masks, threshold)
   higher = Add(threshold, stability_offset)
   over_higher = Greater(masks, higher)
   lower = Sub(threshold, stability_offset)
   over_lower = Greater(masks, lower)
   both = Constant<value = int64[2] {2, 3}>()
   one_int = Constant<value = int32[1] {1}>()
   pixels = Cast<to = 6>(over)
   pixels_high = Cast<to = 6>(over_higher)
   pixels_low = Cast<to = 6>(over_lower)
   area = ReduceSum<keepdims = 0>(pixels, both)
   high = ReduceSum<keepdims = 0>(pixels_high, both)
   low = ReduceSum<keepdims = 0>(pixels_low, both)
   areas = Cast<to = 7>(area)
   high_float = Cast<to = 1>(high)
   low_some = Max(low, one_int)
   low_float = Cast<to = 1>(low_some)
   stability_scores = Div(high_float, low_float)
   down = Constant<value = int64[1] {2}>()
   across = Constant<value = int64[1] {3}>()
   columns = ReduceMax<keepdims = 0>(pixels, down)
   rows = ReduceMax<keepdims = 0>(pixels, across)
   left = ArgMax<axis = 2, keepdims = 1>(columns)
   top = ArgMax<axis = 2, keepdims = 1>(rows)
   right = ArgMax<axis = 2, keepdims = 1, select_last_index = 1>(columns)
   bottom = ArgMax<axis = 2, keepdims = 1, select_last_index = 1>(rows)
   corners = Concat<axis = 2>(left, top, right, bottom)
   last = Constant<value = int64[1] {2}>()
   areas_last = Unsqueeze(areas, last)
   zero = Constant<value = int64[1] {0}>()
   empty = Equal(areas_last, zero)
   nowhere = Constant<value = int64[1] {-1}>()
   boxes = Where(empty, nowhere, corners)
}
"""

# The masks themselves, of those that are kept.
MASKS = """<ir_version: 8, opset_import: ["" : %(opset)s]>
masks (float[K, h, w] low_res_masks_kept, float[2] orig_im_size)
   => (bool[K, height, width] masks_kept) {
   one_prompt = Constant<value = int64[1] {0}>()
   low_res_masks = Unsqueeze(low_res_masks_kept, one_prompt)
   %(full_size)s
   threshold = Constant<value = float[1] {%(threshold)s}>()
   over = Greater(masks, threshold)
   masks_kept = Squeeze(over, one_prompt)
}
"""


def text_of(template: str, config: SamConfig, opset: int) -> str:
    """A graph's text, for a model of that config."""
    height, width = map(float, config.input_size)
    padded = _FIXED if config.fixed_input_size else _WHOLE_CELLS % {"stride": float(config.stride)}
    sizes = _SIZES % {"height": height, "width": width, "padded": padded}
    return template % {
        "opset": opset,
        "sizes": sizes,
        "full_size": _FULL_SIZE % {"sizes": sizes},
        "channels": len(config.mean),
        "mean": ", ".join(f"{x:.9g}" if x % 1 else f"{x:.1f}" for x in config.mean),
        "std": ", ".join(f"{x:.9g}" if x % 1 else f"{x:.1f}" for x in config.std),
        "threshold": f"{config.mask_threshold:.6f}",
    }
