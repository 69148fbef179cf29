/* Text of strangers on a terminal: made harmless, measured, laid out. Pure functions. */
#ifndef MAGPIE_TOOLS_CHAT_TEXT_H
#define MAGPIE_TOOLS_CHAT_TEXT_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Appends the text with all visible that a terminal would obey: control characters as ^X, those of C1, invisible ones
 * and those that turn the direction of writing as <U+202E>, bytes that are no UTF-8 as <FF>. Line breaks stay with
 * `lines`, and are ^J otherwise. */
void chat_text_clean(struct buf *out, struct slice text, bool lines);

/* Columns that clean UTF-8 takes in a terminal. */
size_t chat_text_width(struct slice text);
/* Where the cursor is after so many columns of a prompt and the text, in a terminal of `columns`: the row, from 0. */
size_t chat_text_row(size_t prompt, struct slice text, size_t columns);
/* Cuts clean text to so many columns, with … where something is missing. */
void chat_text_cut(struct buf *out, struct slice text, size_t columns);

/* Appends `head` and `body` (clean, may have line breaks) as lines that each end with a line break. A line that is
 * longer than `columns` breaks between words where it can; 0: never. All but the first are indented, so that no text
 * can look like the beginning of another message. */
void chat_text_lines(struct buf *out, struct slice head, struct slice body, size_t columns);

#endif
