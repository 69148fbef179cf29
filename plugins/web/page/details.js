/** The pane beside a conversation: who is in a channel, how it pushes, leaving it; who a user is. */
import { avatar, h, icon } from "./dom.js";
import * as keep from "./keep.js";
import { copy, say } from "./notices.js";
import { address } from "./sidebar.js";
import { because, count } from "./text.js";

const MODES = [
  ["all", "Every message", "Each at once"],
  ["merged", "In slices", "When there are many, the newest of each moment; the others on demand"],
  ["none", "None", "They are there when you look"],
];

export class Details {
  #model;
  #chat;
  #pane;
  #body;
  #room = null;
  #actions;
  #timer = null;

  /** actions: leave(room), talk(id), close(). */
  constructor(model, chat, pane, actions) {
    this.#model = model;
    this.#chat = chat;
    this.#pane = pane;
    this.#actions = actions;
    this.#body = pane.querySelector(".pane");
    pane.querySelector(".close").addEventListener("click", () => actions.close());
    model.on("members", (room) => this.#again(room));
    chat.on("presence", () => this.#again(this.#room));
  }

  get open() {
    return !this.#pane.hidden;
  }

  show(room) {
    this.#room = room;
    this.#pane.hidden = false;
    this.#body.replaceChildren(...(room.kind === "channel" ? this.#channel(room) : this.#user(room)));
    if (room.kind === "channel" && room.joined) this.#members(room);
  }

  hide() {
    this.#pane.hidden = true;
    this.#room = null;
  }

  #again(room) {
    if (!this.open || !room || room !== this.#room) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      if (this.open && room === this.#room && room.kind === "channel" && room.joined) this.#members(room);
    }, 1000);
  }

  #button(text, action, kind = "") {
    const button = h("button", { type: "button", class: `wide ${kind}`, text });
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await action(button);
      } catch (error) {
        say(because(error));
      }
      button.disabled = false;
    });
    return button;
  }

  // --- A channel -----------------------------------------------------------------------------------------------------

  #channel(room) {
    const { conversation } = room;
    const link = new URL(address(room), location.href).href;
    if (!room.joined) return [h("p", { class: "hint", text: "You are not in this channel." })];
    const modes = MODES.map(([value, words, more]) => {
      const input = h("input", { type: "radio", name: "push", value });
      input.checked = conversation.push === value;
      input.addEventListener("change", () => this.#setMode(room, value));
      return h("label", { class: "choice" }, input, h("span", {}, h("b", { text: words }), h("small", { text: more })));
    });
    return [
      h("fieldset", { class: "modes" }, h("legend", { text: "What arrives by itself" }), ...modes),
      h("h3", { text: "Members" }),
      h("ul", { class: "members", "aria-label": "Members" }),
      h("div", { class: "under" }),
      this.#button("Copy a link to the channel", () => copy(link, "The link was copied.")),
      this.#button("Leave the channel", () => this.#actions.leave(room), "danger"),
    ];
  }

  async #setMode(room, push) {
    try {
      await this.#model.join(room.name, { push });
    } catch (error) {
      say(because(error));
      if (this.#room === room) this.show(room);
    }
  }

  async #members(room, cursor) {
    const list = this.#body.querySelector(".members");
    const under = this.#body.querySelector(".under");
    try {
      const page = await room.conversation.memberList({ limit: 100, cursor });
      if (this.#room !== room || !list.isConnected) return;
      for (const { id, name } of page.members) this.#model.learn(id, name);
      const rows = page.members.map((m) => this.#member(m));
      if (cursor === undefined) list.replaceChildren(...rows);
      else list.append(...rows);
      if (list.children.length > room.members || !page.cursor) this.#model.count(room, list.children.length);
      this.#body.querySelector("h3").textContent = count(room.members, "member");
      const more = page.cursor && this.#button("Show more", () => this.#members(room, page.cursor));
      under.replaceChildren(...(more ? [more] : []));
    } catch (error) {
      if (this.#room === room) under.replaceChildren(h("p", { class: "hint", text: because(error) }));
    }
  }

  #member({ id, name, online }) {
    const me = id === this.#model.me;
    const picture = h("span", { class: "picture" }, avatar(id, name));
    if (online) picture.append(h("span", { class: "dot" }));
    const words = h("bdi", { text: me ? `${name} (you)` : name });
    const state = h("span", { class: "spoken", text: online ? ", online" : ", offline" });
    if (me) return h("li", { class: "member" }, picture, words, state);
    const title = "Write a private message";
    const talk = () => this.#actions.talk(id);
    const button = { type: "button", class: "member", title, on: { click: talk } };
    return h("li", {}, h("button", button, picture, words, state));
  }

  // --- A user --------------------------------------------------------------------------------------------------------

  #user(room) {
    const id = room.name;
    const name = this.#model.title(room);
    const picture = avatar(id, id === this.#model.me ? this.#model.myName : name);
    const parts = [
      h("div", { class: "portrait" }, picture, h("bdi", { text: name })),
      h("p", { class: "hint id" }, "Id: ", h("code", { text: id })),
      this.#button("Copy the id", () => copy(id, "The id was copied.")),
    ];
    if (id === this.#model.me) return parts;
    const blocked = keep.get("blocked", {})[id] === true;
    const toggle = async () => {
      await this.#chat.block(id, !blocked);
      keep.update("blocked", (all) => {
        if (blocked) delete all[id];
        else all[id] = true;
      });
      say(blocked ? `${name} may write to you again.` : `${name} cannot write to you any more.`);
      if (this.#room === room) this.show(room);
    };
    return [...parts, this.#button(blocked ? "Let them write again" : "Block", toggle, blocked ? "" : "danger")];
  }
}
