/* The table that plugins get. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/plugin/answers.h"
#include "core/plugin/current.h"
#include "core/plugin/hooks.h"
#include "core/plugin/http.h"
#include "core/plugin/lookups.h"
#include "core/plugin/memory.h"
#include "core/plugin/moderation.h"
#include "core/plugin/operations.h"
#include "core/plugin/options.h"
#include "core/plugin/orders.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/questions.h"
#include "core/plugin/register.h"
#include "core/plugin/text.h"
#include "core/plugin/threads.h"
#include "core/plugin/work.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { FIELDS = 16 };

_Static_assert((int)MP_DEBUG == LOG_DEBUG && (int)MP_INFO == LOG_INFO && (int)MP_WARN == LOG_WARN &&
                   (int)MP_ERROR == LOG_ERROR,
               "handed on as they are");

static void api_log(mp_self *p, enum mp_level level, const char *event, const struct mp_field *fields, size_t n)
{
    struct log_field list[FIELDS + 1];
    char id[130];
    if ((unsigned)level > MP_ERROR || !event || !log_enabled((enum log_level)level))
        return;
    n = n < FIELDS ? n : FIELDS;
    for (size_t i = 0; i < n; i++)
        list[i] = fields[i].text.p ? LOG_SLICE(fields[i].key, slice_in(fields[i].text))
                                   : LOG_INT(fields[i].key, fields[i].number);
    list[n] = (struct log_field){.type = LOG_F_END};
    snprintf(id, sizeof id, "%s.%.63s", p->name, event);
    log_write((enum log_level)level, id, list);
}

static bool api_closing(mp_self *p)
{
    return atomic_load(&p->closing);
}

static int api_config(mp_self *p, const char *path, char *out, size_t size)
{
    const struct plugin_env *env = &p->plugins->env;
    struct buf b = BUF_INIT;
    if (!path || (!out && size))
        return MP_EINVALID;
    int rc = env->config(env->ctx, path, &b);
    if (rc == 0 && !buf_ok(&b))
        rc = ERR_NOMEM;
    if (rc == 0) {
        if (size)
            snprintf(out, size, "%.*s", (int)b.n, b.p ? b.p : "");
        rc = (int)b.n;
    } else {
        rc = plugin_error(rc);
    }
    buf_free(&b);
    return rc;
}

static int make_dir(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : MP_EIO;
}

static int api_data_dir(mp_self *p, char *out, size_t size)
{
    const char *data = p->plugins->env.data;
    int n = snprintf(out, size, "%s/plugins", data);
    if (n < 0 || (size_t)n >= size)
        return MP_EFULL;
    if (make_dir(data) != 0 || make_dir(out) != 0)
        return MP_EIO;
    n = snprintf(out, size, "%s/plugins/%s", data, p->name);
    if (n < 0 || (size_t)n >= size)
        return MP_EFULL;
    return make_dir(out);
}

const struct mp_api plugin_api = {
    .size = sizeof plugin_api,
    .abi_major = MP_ABI_MAJOR,
    .abi_minor = MP_ABI_MINOR,
    .server_version = MAGPIE_VERSION,
    .log = api_log,
    .alloc = memory_alloc,
    .closing = api_closing,
    .option_text = options_text,
    .option_number = options_number,
    .option_bool = options_bool,
    .option_item = options_item,
    .config = api_config,
    .data_dir = api_data_dir,
    .hook = reg_hook,
    .action = reg_action,
    .auth = reg_auth,
    .command = reg_command,
    .metric = reg_metric,
    .route = reg_route,
    .upgrade = reg_upgrade,
    .reject = verdict_reject,
    .set_content = verdict_content,
    .advise = verdict_advise,
    .auth_finish = auth_answered,
    .answer = action_answer,
    .answer_error = action_error,
    .http_answer = http_done,
    .command_done = command_ended,
    .command_fail = command_failed,
    .command_out = command_text,
    .http_header = http_header_of,
    .http_param = http_param_of,
    .url_decode = http_decode,
    .main_thread = threads_main,
    .shard_count = threads_count,
    .shard = threads_shard,
    .thread_index = threads_index,
    .user_shard = threads_user,
    .channel_shard = threads_channel,
    .local = threads_local,
    .post = threads_post,
    .timer = timer_start,
    .timer_stop = timer_end,
    .work = work_start,
    .io = io_start,
    .io_change = io_set,
    .io_stop = io_end,
    .wall_ms = clock_wall_ms,
    .mono_ms = clock_mono_ms,
    .send = plugin_send,
    .member = plugin_member,
    .kick = plugin_kick,
    .user = plugin_user,
    .range = plugin_range,
    .members = plugin_members,
    .channel = plugin_channel,
    .push_user = plugin_push_user,
    .push_conn = plugin_push_conn,
    .announce = plugin_announce,
    .close_conn = plugin_close_conn,
    .ws_send = ws_send_to,
    .ws_close = ws_close_it,
    .count = metric_count,
    .metrics_each = metric_each,
    .json_parse = text_json_parse,
    .json_free = text_json_free,
    .json_get = text_json_get,
    .json_at = text_json_at,
    .json_text = text_json_text,
    .json_int = text_json_int,
    .json_bool = text_json_bool,
    .json_string = text_json_string,
    .out_new = text_out_new,
    .out_free = text_out_free,
    .out_put = text_out_put,
    .out_printf = text_out_printf,
    .out_json = text_out_json,
    .out_reset = text_out_reset,
    .out_str = text_out_str,
    .current_new = current_new,
    .current_prepare = current_prepare,
    .current_commit = current_commit,
    .current_get = current_get,
    .current_hold = current_hold,
    .held_value = held_value,
    .held_in_force = held_in_force,
    .held_release = held_release,
    .date_ms = plugin_date,
    .later = verdict_later,
    .hook_finish = verdict_finish,
    .recall = plugin_recall,
    .edit = plugin_edit,
    .user_add = plugin_user_add,
    .user_token = plugin_user_token,
    .user_delete = plugin_user_delete,
    .channel_delete = plugin_channel_delete,
    .ban = plugin_ban,
    .bans = plugin_bans,
    .rule = plugin_rule,
    .scan = plugin_scan,
    .json_key = text_json_key,
    .json_put = text_json_put,
    .console_run = order_run,
    .console_login = order_login,
    .console_password = order_password,
    .node = question_node,
    .node_ask = question_ask,
    .node_answerer = question_answerer,
};
