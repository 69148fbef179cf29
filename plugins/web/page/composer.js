/** Where one writes. Enter sends, Shift and Enter begins a line; ↑ in an empty field edits one's last message. */
import { setText } from "./dom.js";
import { bytes } from "./text.js";

export class Composer {
  #model;
  #form;
  #field;
  #left;
  #send;
  #bar;
  #room = null;
  #editing = null; // the item that is edited
  #kept = null;
  #actions;

  /** actions: send(text), edit(item, text), limit() → bytes. */
  constructor(model, form, actions) {
    this.#model = model;
    this.#form = form;
    this.#actions = actions;
    this.#field = form.querySelector("textarea");
    this.#left = form.querySelector(".left");
    this.#send = form.querySelector(".send");
    this.#bar = form.querySelector(".editing");
    this.#field.addEventListener("input", () => this.#changed());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    form.querySelector(".cancel").addEventListener("click", () => this.cancel());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  show(room) {
    this.#keepNow();
    this.#editing = null;
    this.#room = room;
    this.#field.value = room?.draft ?? "";
    const title = room ? this.#model.title(room) : "";
    this.#field.setAttribute("aria-label", `Message to ${title}`);
    this.#field.placeholder = room?.kind === "channel" ? `Message #${title}` : `Message ${title}`;
    this.#look();
  }

  focus() {
    if (!this.#form.hidden) this.#field.focus({ preventScroll: true });
  }

  edit(item) {
    this.#keepNow();
    this.#editing = item;
    this.#field.value = item.content;
    this.#look();
    this.focus();
  }

  cancel() {
    this.#editing = null;
    this.#field.value = this.#room?.draft ?? "";
    this.#look();
    this.focus();
  }

  #changed() {
    this.#look();
    if (this.#editing) return;
    clearTimeout(this.#kept);
    this.#kept = setTimeout(() => this.#keepNow(), 400);
  }

  #keepNow() {
    clearTimeout(this.#kept);
    const text = this.#field.value;
    if (this.#room && !this.#editing && text !== this.#room.draft) this.#model.keepDraft(this.#room, text);
  }

  #look() {
    const field = this.#field;
    const most = this.#actions.limit();
    const left = most - bytes(field.value);
    this.#bar.hidden = !this.#editing;
    this.#left.hidden = left > most / 10;
    setText(this.#left, left >= 0 ? `${left} left` : `${-left} too long`);
    this.#left.classList.toggle("over", left < 0);
    this.#send.disabled = !field.value.trim() || left < 0;
    this.#send.title = this.#editing ? "Save" : "Send";
    this.#send.setAttribute("aria-label", this.#send.title);
    field.style.height = "auto";
    if (field.scrollHeight) field.style.height = `${Math.min(field.scrollHeight, 200)}px`;
  }

  #key(event) {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Escape" && this.#editing) {
      event.stopPropagation();
      this.cancel();
    } else if (event.key === "ArrowUp" && !this.#field.value) {
      const mine = (item) => item.kind === "message" && item.sender.id === this.#model.me && !item.recalled;
      const last = this.#room?.items.findLast(mine);
      if (!last) return;
      event.preventDefault();
      this.edit(last);
    }
  }

  #submit() {
    if (this.#send.disabled || !this.#room) return;
    const text = this.#field.value.trim();
    const item = this.#editing;
    if (item) {
      this.cancel();
      if (text !== item.content) this.#actions.edit(item, text);
      return;
    }
    this.#field.value = "";
    this.#keepNow();
    this.#look();
    this.#actions.send(text);
    this.focus();
  }
}
