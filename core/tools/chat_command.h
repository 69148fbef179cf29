/* What a typed line means. Pure functions. */
#ifndef MAGPIE_TOOLS_CHAT_COMMAND_H
#define MAGPIE_TOOLS_CHAT_COMMAND_H

#include "core/base/slice.h"

#include <stdint.h>

struct buf;

enum chat_order {
    CHAT_NOTHING, /* an empty line */
    CHAT_SAY,     /* text for where one is */
    CHAT_JOIN,
    CHAT_LEAVE,
    CHAT_MSG,
    CHAT_SWITCH,
    CHAT_LIST,
    CHAT_NAMES,
    CHAT_HISTORY,
    CHAT_EDIT,
    CHAT_RECALL,
    CHAT_ME,
    CHAT_HELP,
    CHAT_QUIT,
    CHAT_WRONG /* `why` says what is wrong */
};

/* A line, taken apart; slices borrow from it. */
struct chat_command {
    enum chat_order order;
    struct slice who;  /* of MSG, JOIN, LEAVE, SWITCH: a channel or a user; without pointer: none given */
    struct slice text; /* of SAY, MSG, EDIT, ME: what is to be said; n 0: nothing */
    uint64_t number;   /* of HISTORY: how many; of EDIT and RECALL: which message; 0: not given */
    char why[160];     /* of WRONG: a sentence, clean but for what the line has */
};

void chat_command_read(struct slice line, struct chat_command *out);
/* The lines of /help. */
void chat_command_help(struct buf *out);
/* Steps through the names of commands ("/join"); NULL: there are no more. */
const char *chat_command_name(unsigned i);

#endif
