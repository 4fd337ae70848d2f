"use strict";
/* How often values occur, beside the slider that cuts them. */
{
  const BARS = 48;

  /** How many of the values, each in [0, 1], are in each of equal parts. */
  amg.histogram = (values) => {
    const bars = new Array(BARS).fill(0);
    for (const value of values) {
      if (value >= 0 && value <= 1) bars[Math.min(BARS - 1, Math.floor(value * BARS))] += 1;
    }
    return bars;
  };

  /** Draw bars; those outside [low, high] are what is cut. */
  amg.drawHistogram = (canvas, bars, low, high) => {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio];
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const [kept, cut] = ["--kept", "--cut"].map((name) => style.getPropertyValue(name));
    const most = Math.max(1, ...bars);
    bars.forEach((count, i) => {
      if (!count) return;
      const isCut = (i + 1) / BARS <= low || i / BARS >= high;
      context.fillStyle = isCut ? cut : kept;
      const bar = Math.max(ratio, Math.sqrt(count / most) * height); // few are to be seen beside many
      context.fillRect((i * width) / BARS, height - bar, width / BARS - ratio / 2, bar);
    });
  };
}
