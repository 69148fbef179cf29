/*
 * magpie-chat: what its files share. One thread; everything hangs on a struct chat.
 *
 * chat_link.c keeps the connection, chat_talk.c the conversations, chat_send.c what waits to be sent, chat_order.c does
 * what is typed, chat_screen.c shows and reads, chat_file.c keeps the token.
 */
#ifndef MAGPIE_TOOLS_CHAT_H
#define MAGPIE_TOOLS_CHAT_H

#include "core/base/buf.h"
#include "core/base/slice.h"
#include "core/client/magpie_client.h"

#include <stdbool.h>
#include <stdint.h>

struct screen;
struct chat_command;

enum {
    CHAT_RING = 64,        /* newest seqs of a private conversation that are remembered as shown */
    CHAT_PAGE = 20,        /* messages that /history shows, and that a conversation begins with */
    CHAT_CATCH_UP = 200,   /* a gap larger than this is not shown, but counted */
    CHAT_SILENT_MS = 20000 /* after so much silence the server is asked whether it is there; then an answer is missed */
};

/* A conversation. */
struct talk {
    struct talk *next;        /* in the chat's list */
    char *name;               /* of the channel, or the user's id; owned */
    bool channel;             /* else with one user */
    bool joined;              /* a channel that we are in */
    bool begun;               /* `shown` says where to go on */
    bool asked;               /* a request for its history is under way */
    bool unsure;              /* there may be newer ones than `goal` */
    uint64_t asked_goal;      /* what `goal` was when that was asked */
    bool watched;             /* we hear whether that user is there, on this connection */
    char push[8];             /* the channel's push mode in effect */
    uint64_t shown;           /* newest seq that was shown or passed over */
    uint64_t oldest;          /* where /history goes on; 0: with the newest */
    uint64_t newest;          /* newest seq known of */
    uint64_t goal;            /* there are messages up to here that must be fetched */
    uint64_t fill_at;         /* when that is to be done, ms; 0: not */
    uint64_t unread;          /* messages that were not shown */
    uint64_t read;            /* newest seq that the server knows to be read */
    uint64_t own;             /* my newest message; 0: none */
    uint64_t ring[CHAT_RING]; /* private: seqs that were shown */
    unsigned ring_at;         /* where the next goes */
};

/* A user that was met. */
struct person {
    struct person *next; /* in the chat's list */
    char *id, *name;     /* owned */
};

enum sending_kind { SENDING_TEXT, SENDING_EDIT, SENDING_RECALL };

/* Something that is to be sent, until it is answered. */
struct sending {
    struct sending *next;   /* those behind it */
    struct talk *talk;      /* borrowed */
    char *text;             /* owned; NULL of a recall */
    enum sending_kind kind; /* what is to be done */
    uint64_t seq;           /* of the message that is edited or recalled; 0: the newest of mine by then */
    uint64_t begun;         /* when it was first sent, ms; 0: not yet */
    unsigned tries;         /* refusals that may pass */
    char client_id[33];     /* makes it safe to send it again */
};

struct chat {
    /* The command line. */
    const char *name, *server, *authority; /* borrowed; authority may be NULL */
    const char *const *channels;           /* to be in from the start; borrowed */
    unsigned channel_count;                /* of them */
    char *token_file;                      /* owned; NULL: none is kept */

    /* The connection. */
    struct magpie_client *client;
    struct magpie_conn *conn; /* NULL: none */
    char *token, *id;         /* as the login answered; owned; NULL before */
    bool token_kept;          /* it is from an earlier day */
    bool ready;               /* all is as before the connection was lost; lines are sent */
    bool was_ready;           /* it was ready once */
    bool inbox_asked;         /* the inbox is being read */
    bool inbox_again;         /* something came to it meanwhile */
    bool pinged;              /* the server was asked whether it is there */
    unsigned setup;           /* answers that are needed before the inbox is read */
    unsigned failures;        /* of connecting, one after the other */
    uint64_t lost_at;         /* when the first of those was, ms */
    uint64_t retry_at;        /* when to connect, ms */
    uint64_t heard;           /* when the server last said anything, ms */
    int64_t frame_max;        /* bytes of a request, by the server's limits */

    struct talk *talks, *current; /* current: where a line goes; NULL: nowhere */
    struct person *people;
    struct sending *queue; /* the first one may be under way */
    uint64_t send_at;      /* not before this, ms */
    bool sending;          /* the first one is under way */
    bool quit;             /* all ends now */
    bool ended;            /* no more lines come: it ends when all is sent */
    uint64_t end_at;       /* when that is waited for no longer, ms */
    int status;            /* of the program */
    bool silent;           /* it is over: nothing is told any more */
    struct screen *screen; /* owned */
    bool terminal;         /* it is a terminal; else lines in and lines out */
};

/* Milliseconds that only go forward. */
uint64_t chat_now(void);

/* --- chat_link.c: connecting, logging in, staying connected --- */
/* Does what is due, and returns how many ms there is nothing to do. */
int chat_tick(struct chat *c);
/* What the server's refusal says, as a sentence in a static buffer. */
const char *chat_refusal(int status, struct magpie_json body);

/* --- chat_talk.c: conversations --- */
/* Finds or makes it. NULL: out of memory. */
struct talk *chat_talk(struct chat *c, bool channel, const char *name);
struct talk *chat_talk_find(struct chat *c, bool channel, const char *name);
/* The user is called so. */
void chat_met(struct chat *c, const char *id, const char *name);
/* The name of a user; its id where the name is not known. */
const char *chat_name_of(const struct chat *c, const char *id);
/* Messages there are shown as they come. */
bool chat_talk_seen(const struct chat *c, const struct talk *t);
/* A message came: by a push, or as the answer to our own. */
void chat_message(struct chat *c, const struct magpie_push *m);
void chat_push(struct chat *c, uint16_t action, struct magpie_json body);
/* Goes there: shows what is new. NULL: nowhere. */
void chat_talk_go(struct chat *c, struct talk *t);
/* There are messages up to `goal`, or there may be some (0). */
void chat_talk_reach(struct talk *t, uint64_t goal);
/* Fetches and acknowledges what is due; returns when something will be, ms; UINT64_MAX: nothing. */
uint64_t chat_talk_tick(struct chat *c);
/* Shows `count` messages older than those shown. */
void chat_talk_older(struct chat *c, struct talk *t, uint32_t count);
/* Reads the inbox, and shows it. Ready when it is done. */
void chat_inbox(struct chat *c);
void chat_talks_free(struct chat *c);

/* --- chat_send.c: what is to be sent --- */
void chat_send(struct chat *c, struct talk *t, enum sending_kind kind, struct slice text, uint64_t seq);
/* Sends the next; returns when that can be done, ms; UINT64_MAX: nothing waits, or an answer is awaited. */
uint64_t chat_send_tick(struct chat *c);
unsigned chat_send_left(const struct chat *c);
void chat_send_free(struct chat *c);

/* --- chat_order.c: what is typed --- */
void chat_line(struct chat *c, struct slice line);

/* --- chat_screen.c: showing and reading --- */
/* 0, or -1: it was told why. */
int chat_screen_open(struct chat *c);
void chat_screen_close(struct chat *c);
/* Reads lines and serves the connection until all is over. */
void chat_screen_run(struct chat *c);
/* A message. `mark`: with its number. */
void chat_show(struct chat *c, const struct talk *t, const struct magpie_push *m, bool mark);
/* Something else that happened; texts of others are made harmless here. */
void chat_say(struct chat *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same about something that went wrong. */
void chat_complain(struct chat *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Lines for a person that asked for them: where they go, answers go. */
void chat_print(struct chat *c, struct slice lines);
/* What stands before the line that is typed may have changed. */
void chat_prompt_changed(struct chat *c);

/* --- chat_file.c: the token --- */
/* The file's path for this name and server; NULL: there is no place for it. Owned by the caller. */
char *chat_file_path(const char *name, const char *server);
/* Its token; NULL: there is none. Owned by the caller. */
char *chat_file_read(const char *path);
/* 0, or -1 and errno. */
int chat_file_write(const char *path, const char *token);

#endif
