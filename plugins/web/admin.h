/* The dashboard at /admin. */
#ifndef MAGPIE_PLUGIN_WEB_ADMIN_H
#define MAGPIE_PLUGIN_WEB_ADMIN_H

#include "plugins/web/web.h"

/* Where its own files are in the table; the chat page does not serve them. */
#define ADMIN_FOLDER "admin/"

/* Registers its routes and makes w->admin, which admin_free() frees. idle: seconds after which a session ends that
 * nobody uses. */
int admin_open(struct web *w, double idle);
/* NULL is allowed. */
void admin_free(struct admin *a);

#endif
