/* Mailboxes: order, wakes, chains, and many posters at once. */
#include "core/base/mailbox.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct box {
    struct mailbox mb;
    _Atomic unsigned wakes;
    unsigned seen[16]; /* of each poster: the newest number */
    unsigned count;
    unsigned again; /* so many are posted by their own run */
};

struct letter {
    struct mail mail;
    unsigned poster, number;
};

static void wake(void *ctx)
{
    atomic_fetch_add(&((struct box *)ctx)->wakes, 1);
}

static void open_letter(void *owner, struct mail *m)
{
    struct box *b = owner;
    struct letter *l = (struct letter *)m;
    assert_null(m->next);
    assert_int_equal(l->number, b->seen[l->poster] + 1); /* mails from one poster keep their order */
    b->seen[l->poster] = l->number;
    b->count++;
    if (b->again) {
        b->again--;
        l->number++;
        mailbox_post(&b->mb, m);
        return;
    }
    free(l);
}

static struct letter *letter(unsigned poster, unsigned number)
{
    struct letter *l = calloc(1, sizeof *l);
    assert_non_null(l);
    *l = (struct letter){.mail.run = open_letter, .poster = poster, .number = number};
    return l;
}

static void wakes_when_it_was_empty(void **state)
{
    struct box b = {.count = 0};
    (void)state;
    mailbox_init(&b.mb, wake, &b);
    assert_int_equal(mailbox_run(&b.mb, &b), 0);
    for (unsigned i = 1; i <= 3; i++)
        mailbox_post(&b.mb, &letter(0, i)->mail);
    assert_int_equal(b.wakes, 1);
    assert_int_equal(mailbox_run(&b.mb, &b), 3);
    mailbox_post(&b.mb, &letter(0, 4)->mail);
    assert_int_equal(b.wakes, 2);
    b.again = 2; /* what is posted meanwhile waits for the next run */
    assert_int_equal(mailbox_run(&b.mb, &b), 1);
    assert_int_equal(b.wakes, 3);
    assert_int_equal(mailbox_run(&b.mb, &b), 1);
    assert_int_equal(mailbox_run(&b.mb, &b), 1);
    assert_int_equal(mailbox_run(&b.mb, &b), 0);
    assert_int_equal(b.count, 6);
    mailbox_fini(&b.mb);
}

static void chains_keep_their_order(void **state)
{
    struct box b = {.count = 0};
    (void)state;
    mailbox_init(&b.mb, NULL, NULL);
    struct letter *l[5];
    for (unsigned i = 0; i < 5; i++)
        l[i] = letter(0, i + 1);
    mailbox_post(&b.mb, &l[0]->mail);
    l[1]->mail.next = &l[2]->mail;
    l[2]->mail.next = &l[3]->mail;
    mailbox_post_chain(&b.mb, &l[1]->mail, &l[3]->mail);
    mailbox_post(&b.mb, &l[4]->mail);
    assert_int_equal(mailbox_run(&b.mb, &b), 5);
    mailbox_fini(&b.mb);
}

static void some_at_a_time(void **state)
{
    struct box b = {.count = 0};
    (void)state;
    mailbox_init(&b.mb, wake, &b);
    assert_false(mailbox_run_some(&b.mb, &b, 3));
    for (unsigned i = 1; i <= 7; i++)
        mailbox_post(&b.mb, &letter(0, i)->mail);
    assert_true(mailbox_run_some(&b.mb, &b, 3));
    assert_int_equal(b.count, 3);
    mailbox_post(&b.mb, &letter(0, 8)->mail); /* behind what is left, and with a wake of its own */
    assert_int_equal(b.wakes, 2);
    assert_true(mailbox_run_some(&b.mb, &b, 3));
    assert_true(
        mailbox_run_some(&b.mb, &b, 3)); /* none of those is left, but the eighth, whose wake came before this */
    assert_int_equal(b.count, 7);
    assert_false(mailbox_run_some(&b.mb, &b, 1));
    assert_int_equal(b.count, 8);
    mailbox_post(&b.mb, &letter(0, 9)->mail);
    b.again = 1; /* what a mail posts is more, too */
    assert_true(mailbox_run_some(&b.mb, &b, 1));
    assert_false(mailbox_run_some(&b.mb, &b, 1));
    assert_int_equal(b.count, 10);
    for (unsigned i = 11; i <= 14; i++)
        mailbox_post(&b.mb, &letter(0, i)->mail);
    assert_true(mailbox_run_some(&b.mb, &b, 1));
    mailbox_post(&b.mb, &letter(0, 15)->mail);
    assert_int_equal(mailbox_run(&b.mb, &b), 4); /* all, in their order */
    assert_int_equal(b.count, 15);
    mailbox_fini(&b.mb);
}

enum { POSTERS = 8, EACH = 20000 };

struct poster {
    struct box *b;
    unsigned number;
};

static void *post_many(void *arg)
{
    struct poster *p = arg;
    for (unsigned i = 1; i <= EACH;) {
        struct letter *first = letter(p->number, i++), *last = first;
        for (unsigned n = i % 4; n && i <= EACH; n--) {
            struct letter *l = letter(p->number, i++);
            last->mail.next = &l->mail;
            last = l;
        }
        mailbox_post_chain(&p->b->mb, &first->mail, &last->mail);
    }
    return NULL;
}

static void many_posters(void **state)
{
    struct box b = {.count = 0};
    struct poster p[POSTERS];
    pthread_t t[POSTERS];
    (void)state;
    mailbox_init(&b.mb, wake, &b);
    for (unsigned i = 0; i < POSTERS; i++) {
        p[i] = (struct poster){&b, i};
        assert_int_equal(pthread_create(&t[i], NULL, post_many, &p[i]), 0);
    }
    unsigned runs = 0;
    while (b.count < POSTERS * EACH)
        runs += mailbox_run(&b.mb, &b) > 0;
    for (unsigned i = 0; i < POSTERS; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(b.seen[i], EACH);
    }
    assert_int_equal(mailbox_run(&b.mb, &b), 0);
    assert_int_equal(b.wakes, runs); /* one wake for each time there was something */
    mailbox_fini(&b.mb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wakes_when_it_was_empty),
        cmocka_unit_test(chains_keep_their_order),
        cmocka_unit_test(some_at_a_time),
        cmocka_unit_test(many_posters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
