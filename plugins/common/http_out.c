#include "plugins/common/http_out.h"

#include <curl/curl.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <time.h>

bool url_good(const char *url)
{
    CURLU *u = curl_url();
    char *scheme = NULL;
    bool good = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_url_cleanup(u);
    return good;
}

void signature_put(char out[SIGNATURE_SIZE], const char *secret, struct mp_str body)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_n = 0;
    char stamp[32];
    long long now = (long long)time(NULL);
    int n = snprintf(stamp, sizeof stamp, "%lld.", now);
    char *text = malloc((size_t)n + body.n);
    if (text) {
        memcpy(text, stamp, (size_t)n);
        memcpy(text + n, body.p, body.n);
        HMAC(EVP_sha256(), secret, (int)strlen(secret), (unsigned char *)text, (size_t)n + body.n, mac, &mac_n);
        free(text);
    }
    int at = snprintf(out, SIGNATURE_SIZE, "Magpie-Signature: t=%lld,v1=", now);
    for (unsigned i = 0; i < mac_n && at + 2 < SIGNATURE_SIZE; i++)
        at += snprintf(out + at, SIGNATURE_SIZE - (size_t)at, "%02x", mac[i]);
}
