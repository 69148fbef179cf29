/*
 * Which replica is to take over from its master, so that as few masters as can be are on one machine. Whatever dies,
 * masters gather on the machines that live; and when most are on one, its death stops the whole cluster.
 */
#ifndef MAGPIE_STORAGE_REDIS_BALANCE_PLAN_H
#define MAGPIE_STORAGE_REDIS_BALANCE_PLAN_H

#include "storage/redis/start/view.h"

/* One step at a time; NULL: nothing is to be done, can be done, or there is no memory. A machine is a host's address.
 * Steps that are taken one after the other come to an end. */
const struct view_member *balance_plan(const struct view *v);

#endif
