/** What index.d.ts promises, by the compiler: tsc --noEmit. The lines with @ts-expect-error must not compile. */
import { Conversation, Emitter, Magpie, MagpieError, type Message, type PushMode } from "magpie-client";

class NoSocket {}

async function use(): Promise<void> {
  const chat = new Magpie("ws://localhost:8082/", { name: "Ann", token: undefined, WebSocket: NoSocket, binary: true });
  const renewed = new Magpie("ws://localhost:8082/", { getToken: async () => "jwt", positions: { "#lobby": 4 } });
  const off: () => void = chat.on("message", (message: Message, conversation: Conversation) => {
    const text: string = message.content;
    const seq: number | null = conversation.last;
    console.log(text, seq, message.sender.name, message.editedAt ?? 0);
  });
  off();
  chat.once("disconnected", ({ error, delay }) => console.log(error.code.toUpperCase(), delay.toFixed()));
  chat.on("membership", (change, conversation) => {
    if (change.change === "kicked") console.log(conversation.name, change.members);
  });
  chat.on("push", (action, body) => console.log(action + 1, body.anything));
  await chat.connect().then((same) => same.close());

  const lobby = chat.channel("lobby");
  const mode: PushMode = (await lobby.subscribe({ push: "merged", events: true })).push;
  const sent = await lobby.send("hello", { clientId: "c", signal: new AbortController().signal });
  const page = await lobby.history({ before: sent.seq, limit: 10 });
  page.messages.map((m) => m.id);
  lobby.begin(page.last);
  lobby.on("retry", ({ clientId, error }) => console.log(clientId, error.retryAfter?.toFixed()));
  (await lobby.memberList()).members.filter((m) => m.online);
  const online: string[] = await renewed.watch(["a"]);
  const kept: Record<string, number> = chat.positions();
  console.log(mode, online, kept, new MagpieError("closed").code);

  class Counter extends Emitter<{ changed: [count: number] }> {}
  new Counter().on("changed", (count) => console.log(count.toFixed()));

  // @ts-expect-error: no such event
  chat.on("mesage", () => {});
  // @ts-expect-error: no such option
  new Magpie("ws://localhost:8082/", { nmae: "Ann" });
  // @ts-expect-error: no such mode
  await lobby.subscribe({ push: "some" });
  // @ts-expect-error: a text is needed
  await lobby.send(1);
  // @ts-expect-error: only Magpie makes them
  new Conversation();
  // @ts-expect-error: it is read only
  chat.state = "closed";
}

void use;
