/* Questions of plugins to the same plugin on other nodes of a cluster. Main thread. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_QUESTIONS_H
#define MAGPIE_PLUGIN_QUESTIONS_H

#include "core/plugin/plugin_private.h"

/* Other nodes' questions are answered, or not any more. */
void questions_begin(struct plugins *ps);
void questions_end(struct plugins *ps);

unsigned question_node(mp_self *p);
int question_ask(mp_self *p, unsigned node, struct mp_str body, unsigned timeout_ms, mp_node_answers_fn done,
                 void *ctx);
int question_answerer(mp_self *p, mp_node_asked_fn asked, void *ctx);

#endif
