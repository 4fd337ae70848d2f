"use strict";
/* Colours of masks by their numbers: those of the overlay format. */
{
  const GOLDEN = 0.618033988749895; // neighbours in number lie far apart on the circle of hues
  const LIGHTS = [[0.85, 1], [0.6, 1], [0.9, 0.75], [0.5, 0.85]]; // saturation and value

  /** Red, green and blue, 0 to 255. */
  amg.colour = (number) => {
    const hue = ((number * GOLDEN) % 1) * 6;
    const [saturation, value] = LIGHTS[number % LIGHTS.length];
    const channel = (shift) => {
      const k = (shift + hue) % 6;
      return Math.round(255 * (value - value * saturation * Math.max(0, Math.min(k, 4 - k, 1))));
    };
    return [channel(5), channel(3), channel(1)];
  };
}
