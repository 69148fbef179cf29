export { Magpie } from "./magpie.js";
export { Conversation } from "./conversation.js";
export { MagpieError } from "./error.js";
