// Where on a photo something speaks for a class (Grad-CAM), drawn over it.
const LONGEST = 320;
// From what says nothing to what says most: colours that grow lighter, told apart with any kind of colour vision.
const RAMP = [[20, 11, 75], [124, 30, 109], [207, 70, 68], [250, 155, 40], [252, 250, 160]];

// A canvas of the photo's proportions; the map covers the part that the network saw.
export function heatCanvas({ size, seen }, { map }) {
  const scale = LONGEST / Math.max(...size);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = size.map((side) => Math.max(1, Math.round(side * scale)));
  const [left, top, right, bottom] = seen.map((edge) => edge * scale);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  for (let y = 0; y < canvas.height; y += 1)
    for (let x = 0; x < canvas.width; x += 1) {
      const across = (x + 0.5 - left) / (right - left);
      const down = (y + 0.5 - top) / (bottom - top);
      if (across < 0 || across > 1 || down < 0 || down > 1) continue;
      const value = between(map, down * map.length - 0.5, across * map[0].length - 0.5);
      pixels.data.set(colour(value), 4 * (y * canvas.width + x));
    }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// The map between its points, each row and column bilinear; at the edge the outermost goes on.
function between(map, row, column) {
  const [rows, columns] = [map.length - 1, map[0].length - 1];
  const y = Math.min(Math.max(row, 0), rows);
  const x = Math.min(Math.max(column, 0), columns);
  const [y0, x0] = [Math.floor(y), Math.floor(x)];
  const [y1, x1] = [Math.min(y0 + 1, rows), Math.min(x0 + 1, columns)];
  const upper = map[y0][x0] + (x - x0) * (map[y0][x1] - map[y0][x0]);
  const lower = map[y1][x0] + (x - x0) * (map[y1][x1] - map[y1][x0]);
  return upper + (y - y0) * (lower - upper);
}

function colour(value) {
  const place = Math.min(Math.max(value, 0), 1) * (RAMP.length - 1);
  const index = Math.min(Math.floor(place), RAMP.length - 2);
  const share = place - index;
  const mixed = RAMP[index].map((part, i) => part + share * (RAMP[index + 1][i] - part));
  return [...mixed, 255 * Math.min(1, 0.1 + 1.1 * value)];
}
