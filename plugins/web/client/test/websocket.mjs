/** The global WebSocket where there is one (Node 22); npm's ws, from where MAGPIE_WS says, elsewhere. */
export const WebSocket = process.env.MAGPIE_WS ? (await import(process.env.MAGPIE_WS)).default : globalThis.WebSocket;
