// The size of a DICOM image, and its pixels where they lie there as they are (PS3.5, explicit and
// implicit little endian). What the service makes of windows and look-up tables is its own.
const NATIVE = {"1.2.840.10008.1.2": false, "1.2.840.10008.1.2.1": true};
const UNREADABLE = ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"];
const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);
const UNDEFINED = 0xffffffff;
const ROWS = 0x00280010, COLUMNS = 0x00280011, PIXELS = 0x7fe00010, SYNTAX = 0x00020010;

function isDicom(bytes) {
  return bytes.length > 132 && String.fromCharCode(...bytes.subarray(128, 132)) === "DICM";
}

// Tag to [offset, length] of the elements outside sequences.
function elementsOf(view, start, explicit, until) {
  const found = new Map();
  let at = start, depth = 0;
  while (at + 8 <= view.byteLength) {
    const tag = view.getUint16(at, true) * 65536 + view.getUint16(at + 2, true);
    const group = Math.floor(tag / 65536);
    let length, head = 8;
    if (group === 0xfffe || !explicit) {
      length = view.getUint32(at + 4, true);
    } else {
      const kind = String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5));
      const isLong = LONG.has(kind);
      length = isLong ? view.getUint32(at + 8, true) : view.getUint16(at + 6, true);
      head = isLong ? 12 : 8;
    }
    if (until && group > until) return [found, at];
    if (tag === 0xfffee00d || tag === 0xfffee0dd) {
      depth -= 1;
    } else if (length === UNDEFINED) {
      if (tag === PIXELS) return [found, at];
      depth += 1;
      at += head;
      continue;
    } else if (!depth) {
      found.set(tag, [at + head, length]);
    }
    // Items and sequences of a known length inside an open one are stepped over whole.
    at += head + (tag === 0xfffee00d || tag === 0xfffee0dd ? 0 : length);
    if (!depth && tag === PIXELS) break;
  }
  return [found, at];
}

function dicomPicture(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (elements, tag) => {
    const place = elements.get(tag);
    if (!place) return "";
    return String.fromCharCode(...bytes.subarray(place[0], place[0] + Math.min(place[1], 64)))
      .replace(/[\0 ]+$/, "");
  };
  const [meta, start] = elementsOf(view, 132, true, 2);
  const syntax = text(meta, SYNTAX);
  if (UNREADABLE.includes(syntax)) return null;
  const [elements] = elementsOf(view, start, NATIVE[syntax] ?? true, 0);
  const number = (tag, usual) => {
    const place = elements.get(tag);
    return place && place[1] >= 2 ? view.getUint16(place[0], true) : usual;
  };
  const size = {height: number(ROWS, 0), width: number(COLUMNS, 0)};
  if (!size.height || !size.width) return null;
  const bits = number(0x00280100, 0), count = size.height * size.width, place = elements.get(PIXELS);
  const isPlain = syntax in NATIVE && number(0x00280002, 1) === 1 && (bits === 8 || bits === 16);
  if (!isPlain || !place || place[1] < count * bits / 8 || place[0] + place[1] > bytes.length) {
    return {...size, pixels: null};
  }
  const frames = Math.floor(place[1] * 8 / bits / count), isSigned = number(0x00280103, 0) === 1;
  const kind = bits === 8 ? (isSigned ? Int8Array : Uint8Array) : isSigned ? Int16Array : Uint16Array;
  const inverted = text(elements, 0x00280004) === "MONOCHROME1";
  const pixels = frame => {
    const first = place[0] + Math.min(frames, frame || 1) * count * bits / 8 - count * bits / 8;
    return stretched(new kind(bytes.slice(first, first + count * bits / 8).buffer), inverted);
  };
  return {...size, pixels};
}

// Gray values from the lowest to the highest hundredth, as RGBA.
function stretched(values, inverted) {
  const sample = [];
  const step = Math.max(1, Math.floor(values.length / 20000));
  for (let i = 0; i < values.length; i += step) sample.push(values[i]);
  sample.sort((a, b) => a - b);
  const low = sample[Math.floor(sample.length * 0.005)];
  const high = Math.max(low + 1, sample[Math.ceil(sample.length * 0.995) - 1]);
  const shades = new Uint8ClampedArray(values.length * 4);
  for (let i = 0; i < values.length; i += 1) {
    const gray = 255 * (values[i] - low) / (high - low);
    shades.fill(inverted ? 255 - gray : gray, 4 * i, 4 * i + 3);
    shades[4 * i + 3] = 255;
  }
  return shades;
}
