/** Dialogs: join a channel, write to somebody, settings, and a question before what cannot be undone. */
import { $, avatar, h } from "./dom.js";
import * as keep from "./keep.js";
import { copy, notifying, say } from "./notices.js";
import { because } from "./text.js";

/** Opens a dialog, its fields empty; it closes by Escape, by its buttons, and by a click beside it. */
function open(dialog) {
  const form = $("form", dialog);
  form?.reset();
  for (const error of dialog.querySelectorAll(".error")) error.textContent = "";
  dialog.showModal();
}

export function prepare() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
    });
  }
}

/** Resolves with whether it was agreed to. */
export function ask(question, words, yes) {
  const dialog = $("#ask");
  $("h2", dialog).textContent = question;
  $("p", dialog).textContent = words;
  $("[value=yes]", dialog).textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }),
  );
}

/** A form whose promise may fail: the error stands in it. */
function onSubmit(dialog, act) {
  const form = $("form", dialog);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = $("[type=submit]", form);
    button.disabled = true;
    try {
      await act(form);
      dialog.close();
    } catch (error) {
      $(".error", form).textContent = because(error);
    }
    button.disabled = false;
  });
}

/** actions: join(name), talk(id). */
export function prepareNew(model, actions) {
  const join = $("#join");
  onSubmit(join, (form) => actions.join(form.elements.name.value.trim().replace(/^#/u, "")));
  const talk = $("#talk");
  const field = $("input", talk);
  const list = $("ul", talk);
  const choose = (id) => {
    talk.close();
    actions.talk(id);
  };
  const offer = () => {
    const text = field.value.trim();
    const found = model.known(text.replace(/^@/u, "")).slice(0, 8);
    list.replaceChildren(
      ...found.map(([id, name]) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "member", on: { click: () => choose(id) } },
            avatar(id, name),
            h("span", { class: "lines" }, h("bdi", { text: name }), h("small", { text: id })),
          ),
        ),
      ),
    );
  };
  field.addEventListener("input", offer);
  onSubmit(talk, async () => {
    const text = field.value.trim().replace(/^@/u, "");
    const named = model.known(text).filter(([id, name]) => id === text || name.toLowerCase() === text.toLowerCase());
    if (named.length > 1) throw new Error("There are several of that name: choose one, or give the id.");
    if (named.length === 1) return choose(named[0][0]);
    if (!/^[\w.:-]{1,64}$/u.test(text)) throw new Error("Nobody of that name is known here: give the user's id.");
    choose(text);
  });
  return {
    join: () => open(join),
    talk: () => {
      open(talk);
      offer();
    },
  };
}

export function applyTheme(theme = keep.get("theme", "system")) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** actions: rename(name), signOut(). */
export function prepareSettings(chat, actions) {
  const dialog = $("#settings");
  const form = $("form", dialog);
  const { name, theme, notify } = form.elements;
  theme.forEach((radio) =>
    radio.addEventListener("change", () => {
      keep.set("theme", radio.value === "system" ? null : radio.value);
      applyTheme();
    }),
  );
  notify.addEventListener("change", async () => {
    notify.checked = await notifying.turn(notify.checked);
    if (!notify.checked && !notifying.possible) say("The browser does not let this page notify you.");
  });
  onSubmit(dialog, async () => {
    const text = name.value.trim();
    if (text && text !== chat.name) actions.rename(text);
  });
  $("#copy-id").addEventListener("click", () => copy(chat.id, "Your id was copied."));
  const warned = "Your token was copied. Keep it like a password.";
  $("#copy-token").addEventListener("click", () => copy(chat.token, warned));
  $("#sign-out").addEventListener("click", async () => {
    dialog.close();
    const words =
      "All your sessions end, and every token. Where people sign in with a name alone, nobody can come back as you, " +
      "not even you yourself.";
    if (await ask("Sign out?", words, "Sign out")) actions.signOut();
  });
  return () => {
    open(dialog);
    name.value = chat.name;
    theme.value = keep.get("theme", "system");
    notify.checked = notifying.on;
    notify.disabled = !notifying.possible;
    $("#my-id").textContent = chat.id;
  };
}
