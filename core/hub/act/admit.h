/* Whether the hooks let a login in, once it is known who it is (in auth.mode "open": would be). Private to core/hub. */
#ifndef MAGPIE_HUB_ADMIT_H
#define MAGPIE_HUB_ADMIT_H

struct login;

/* Asks the hooks, now or later, and goes on with login_go() or login_refuse(). The login may be gone when this
 * returns. */
void login_admit(struct login *l);

#endif
