export { Magpie } from "./magpie.js";
export { Conversation } from "./conversation.js";
export { Emitter } from "./emitter.js";
export { MagpieError } from "./error.js";
