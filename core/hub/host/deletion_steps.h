/* What each step of a deletion does (deletion.h). Private to core/hub/host. */
#ifndef MAGPIE_HUB_DELETION_STEPS_H
#define MAGPIE_HUB_DELETION_STEPS_H

struct deletion;

/* A user: logins wait from now on. */
void deletion_hold(struct deletion *d);
/* The store writes down that it is deleted. */
void deletion_begin_user(struct deletion *d);
void deletion_begin_channel(struct deletion *d);
/* A user: its connections close. */
void deletion_kick(struct deletion *d);
/* Memberships end, some at a time. */
void deletion_leave(struct deletion *d);
/* A user: once its requests under way have ended, logins are answered again. */
void deletion_let_go(struct deletion *d);
/* Bans, mutes and the rule are lifted, one after the other. */
void deletion_bans(struct deletion *d);
/* A user: its messages are recalled, if that was asked for, some at a time. */
void deletion_recall(struct deletion *d);
/* The rest is removed. */
void deletion_end_user(struct deletion *d);
void deletion_end_channel(struct deletion *d);

/* A user that is held back is so no more. */
void deletion_free_user(struct deletion *d);

#endif
