#include "core/plugin/orders.h"

#include "core/base/utf8.h"
#include "core/plugin/asker.h"

#include <stdio.h>

struct ordered {
    struct asker a;
    mp_console_fn done;
};

static void order_done(void *ctx, const char *code, const char *message, struct slice json)
{
    struct ordered *o = ctx;
    struct mp_self *p = o->a.plugin;
    const struct mp_console_result r = {
        .size = sizeof r, .code = code, .message = code ? message : "", .json = str_out(json)};
    if (o->done) {
        struct visit v = visit_begin(o->a.home, p, "the answer of the console");
        o->done(o->a.home, &r, o->a.ctx);
        visit_end(o->a.home, &v);
    }
    free(o);
    plugin_end(p, PENDING_OPERATIONS);
}

int order_run(mp_self *p, struct mp_str line, struct mp_str who, mp_console_fn done, void *ctx)
{
    char name[128];
    int rc;
    if (line.n == 0 || who.n == 0 || !utf8_valid(slice_in(line)) || !utf8_valid(slice_in(who)))
        return MP_EINVALID;
    struct ordered *o = op_new(p, sizeof *o, 0, &rc);
    if (!o)
        return rc;
    o->a = asker_of(p, NULL, ctx);
    o->done = done;
    snprintf(name, sizeof name, "%s %.*s", p->name, (int)(who.n < sizeof name ? who.n : sizeof name), who.p);
    const struct command_order order = {.who = name, .line = slice_in(line), .done = order_done, .ctx = o};
    rc = command_order(p->plugins->hub, &order);
    if (rc != 0) {
        free(o);
        plugin_end(p, PENDING_OPERATIONS);
    }
    return rc == 0 ? 0 : plugin_error(rc);
}

enum mp_code order_login(mp_self *p, struct mp_str address, struct mp_str password)
{
    static const enum mp_code codes[] = {[PASSWORD_RIGHT] = MP_CODE_OK,
                                         [PASSWORD_WRONG] = MP_CODE_UNAUTHORIZED,
                                         [PASSWORD_LIMITED] = MP_CODE_RATE_LIMITED,
                                         [PASSWORD_NONE] = MP_CODE_FORBIDDEN};
    char ip[64];
    snprintf(ip, sizeof ip, "%.*s", (int)(address.n < sizeof ip ? address.n : sizeof ip), address.p ? address.p : "");
    return codes[command_password(p->plugins->hub, ip, slice_in(password))];
}

uint64_t order_password(mp_self *p)
{
    return command_password_number(p->plugins->hub);
}
