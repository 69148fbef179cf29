/* The built-in actions and policies: the one list of the files that register them. */
#ifndef MAGPIE_HUB_ACTS_H
#define MAGPIE_HUB_ACTS_H

#include "core/base/err.h"

struct hub;

/* Each X(name) is a file that defines `int name_register(struct hub *)`: 0, or an enum err. */
#define ACTS(X)                                                                                                        \
    X(act_login)                                                                                                       \
    X(act_send) X(act_change) X(act_channel) X(act_history) X(act_inbox) X(act_people) X(act_watch) X(policy)
#define ACT_PROTOTYPE(name) MUST_CHECK int name##_register(struct hub *hub);
ACTS(ACT_PROTOTYPE)

/* Registers all of them in the draft of the tables. 0, or the first error. */
MUST_CHECK int acts_register(struct hub *hub);

#endif
