/**
 * Frames over WebSocket. Text: {"action":N,"seq":N,"body":{…}}. Binary: action u16, seq u16, big-endian, then the body.
 * The form of the first message that a connection sends is the one that it is answered in.
 */
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encode(binary, action, seq, body) {
  if (!binary) return JSON.stringify({ action, seq, body });
  const json = encoder.encode(JSON.stringify(body));
  const frame = new Uint8Array(4 + json.length);
  const view = new DataView(frame.buffer);
  view.setUint16(0, action);
  view.setUint16(2, seq);
  frame.set(json, 4);
  return frame;
}

/** {action, seq, body} of a message's data. Throws when it is no frame. */
export function decode(data) {
  if (typeof data === "string") {
    const { action, seq = 0, body = {} } = JSON.parse(data);
    return { action, seq, body };
  }
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const json = decoder.decode(bytes.subarray(4));
  return { action: view.getUint16(0), seq: view.getUint16(2), body: json ? JSON.parse(json) : {} };
}
