/** A bot: says again what it hears in a channel. node echo.mjs ws://localhost:8082/ [CHANNEL] */
import { Magpie } from "../index.js";
import { WebSocket } from "../test/websocket.mjs"; // of your own: import WebSocket from "ws", or Node 22's global one

const [url = "ws://localhost:8082/", name = "lobby"] = process.argv.slice(2);
const chat = new Magpie(url, { name: "Echo", WebSocket });
chat.on("error", (error) => console.error(error.message));
chat.on("closed", () => process.exit(1));
await chat.connect();

const channel = chat.channel(name);
channel.on("message", async ({ sender, content }) => {
  if (sender.id === chat.id) return;
  await channel.send(`${sender.name} said: ${content}`).catch((error) => console.error(error.message));
});
await channel.subscribe();
console.log(`listening in ${name}`);
