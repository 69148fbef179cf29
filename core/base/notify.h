/* Telling systemd how the service is: sd_notify(3) without its library. Without systemd nothing happens. */
#ifndef MAGPIE_BASE_NOTIFY_H
#define MAGPIE_BASE_NOTIFY_H

/* "READY=1\nSTATUS=serving" */
void notify(const char *state);
/* A reload begins; READY=1 ends it. */
void notify_reloading(void);

#endif
