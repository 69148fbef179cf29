/* Which replica takes over, so that masters are apart (balance_plan.c). No Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "storage/redis/nodes/balance_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS = 32 };

/* A cluster drawn as "a1M b1 c1 a2M …": machine, whose data, and M for the master of that. An x at the end: it has
 * failed. */
struct drawn {
    struct view view;
    struct view_member members[MEMBERS];
    char data[MEMBERS];
};

/* Whose data it has becomes its own. */
static void take_over(struct drawn *d, unsigned at)
{
    for (unsigned i = 0; i < d->view.n; i++) {
        struct view_member *m = &d->members[i];
        if (d->data[i] != d->data[at])
            continue;
        m->is_master = i == at;
        m->slots = i == at ? 100 : 0;
        snprintf(m->master, sizeof m->master, "%s", i == at ? "" : d->members[at].id);
    }
}

static struct drawn draw(const char *text)
{
    struct drawn d = {.view = {.n = 0}};
    unsigned masters[MEMBERS], n = 0;
    for (const char *p = text; *p; p += strcspn(p, " ") + (p[strcspn(p, " ")] == ' ')) {
        struct view_member *m = &d.members[d.view.n];
        size_t size = strcspn(p, " ");
        snprintf(m->address, sizeof m->address, "10.0.0.%c:%u", p[0], 7000 + d.view.n);
        snprintf(m->id, sizeof m->id, "id%u", d.view.n);
        m->failed = p[size - 1] == 'x';
        d.data[d.view.n] = p[1];
        if (size > 2 && p[2] == 'M')
            masters[n++] = d.view.n;
        d.view.n++;
    }
    d.view.members = d.members;
    for (unsigned i = 0; i < n; i++)
        take_over(&d, masters[i]);
    return d;
}

/* The steps that are taken, as "MACHINE DATA" of each replica; "": none. */
static void expect(const char *text, const char *want)
{
    struct drawn d = draw(text);
    char steps[128] = "";
    const struct view_member *m;
    d.view.members = d.members;
    while ((m = balance_plan(&d.view)) != NULL) {
        unsigned at = (unsigned)(m - d.members);
        assert_false(m->is_master || m->failed);
        snprintf(steps + strlen(steps), sizeof steps - strlen(steps), "%s%c%c", steps[0] ? " " : "", m->address[7],
                 d.data[at]);
        take_over(&d, at);
        assert_true(strlen(steps) < 100); /* it ends */
    }
    if (strcmp(steps, want) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", text, steps, want);
}

static void what_is_apart_stays(void **state)
{
    (void)state;
    expect("", "");
    expect("a1M a2M a3M", "");                             /* no replicas */
    expect("a1M a1 a2M a2 a3M a3", "");                    /* one machine */
    expect("a1M b1 c1 a2 b2M c2 a3 b3 c3M", "");           /* as it should be */
    expect("a1M b1 a2 b2M", "");                           /* two machines */
    expect("a1M b1 c1 a2 b2M c2 a3M b3 c3 a4 b4 c4M", ""); /* four masters on three */
}

static void masters_that_gathered_go(void **state)
{
    (void)state;
    expect("a1M b1 c1 a2M b2 c2 a3 b3 c3M", "b1");
    expect("a1M b1 c1 a2M b2 c2 a3M b3 c3", "b1 c2");
    expect("a1M b1 c1 a2 b2M c2 a3M b3 c3 a4 b4M c4", "c1");
    expect("a1M b1 a2M b2", "b1");
    expect("a1M b1x c1 a2M b2x c2 a3 b3x c3M", ""); /* b has failed */
    expect("a1M b1x c1 a2M b2x c2 a3M b3x c3", "c1");
}

/* Where nothing of the fullest machine can go to the emptiest, another makes room. */
static void one_makes_room_for_another(void **state)
{
    (void)state;
    expect("a1M b1 a2M b2 b3M c3", "c3 b1");
    expect("a1M b1 a2M b2 b3M c3 c4M d4", "d4 c3 b1");
    expect("a1M a2M b3M c3", ""); /* nothing of a's can go at all */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_apart_stays),
        cmocka_unit_test(masters_that_gathered_go),
        cmocka_unit_test(one_makes_room_for_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
