/* The PKCS #11 library of AWS CloudHSM's Client SDK 5, in what its guide says that it does otherwise, over SoftHSM.
 *
 * It has no read-only sessions ("Known issues"); its PIN is USER:PASSWORD ("Authenticate to the PKCS #11 library"); and AES-GCM
 * takes no nonce: the HSM makes one and writes it where the application's would be, which has to be zeros before ("Supported
 * mechanisms", note 1).
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

typedef unsigned long ulong_t;

enum { OPEN_SESSION = 12, LOGIN = 18, ENCRYPT_INIT = 29, FUNCTIONS = 68 };
enum { OK = 0, FUNCTION_FAILED = 0x6, MECHANISM_PARAM_INVALID = 0x71, PIN_INCORRECT = 0xA0 };
enum { RW_SESSION = 0x2, AES_GCM = 0x1087 };

struct functions { unsigned char version[2]; void *call[FUNCTIONS]; };
struct mechanism { ulong_t kind; void *parameter; ulong_t length; };
struct gcm { unsigned char *iv; ulong_t iv_length, iv_bits; void *data; ulong_t data_length, tag_bits; };

static struct functions real, ours;

static ulong_t open_session(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *session)
{
    if (!(flags & RW_SESSION))
        return FUNCTION_FAILED;
    return ((ulong_t (*)(ulong_t, ulong_t, void *, void *, ulong_t *))real.call[OPEN_SESSION])(slot, flags, application, notify, session);
}

static ulong_t login(ulong_t session, ulong_t kind, unsigned char *pin, ulong_t length)
{
    const char *user = getenv("CLOUDHSM_USER");
    size_t skip = strlen(user) + 1;
    if (length < skip || memcmp(pin, user, skip - 1) != 0 || pin[skip - 1] != ':')
        return PIN_INCORRECT;
    return ((ulong_t (*)(ulong_t, ulong_t, unsigned char *, ulong_t))real.call[LOGIN])(session, kind, pin + skip, length - skip);
}

static ulong_t encrypt_init(ulong_t session, struct mechanism *mechanism, ulong_t key)
{
    if (mechanism->kind == AES_GCM) {
        struct gcm *gcm = mechanism->parameter;
        for (ulong_t i = 0; i < gcm->iv_length; i++)
            if (gcm->iv[i])
                return MECHANISM_PARAM_INVALID;
        if (getrandom(gcm->iv, gcm->iv_length, 0) != (ssize_t)gcm->iv_length)
            return FUNCTION_FAILED;
    }
    return ((ulong_t (*)(ulong_t, struct mechanism *, ulong_t))real.call[ENCRYPT_INIT])(session, mechanism, key);
}

ulong_t C_GetFunctionList(struct functions **list)
{
    struct functions *behind;
    void *module = dlopen(getenv("CLOUDHSM_BEHIND"), RTLD_NOW | RTLD_LOCAL);
    ulong_t (*get)(struct functions **) = module ? (ulong_t (*)(struct functions **))dlsym(module, "C_GetFunctionList") : NULL;
    if (!get || get(&behind) != OK)
        return FUNCTION_FAILED;
    ours = real = *behind;
    ours.call[OPEN_SESSION] = open_session;
    ours.call[LOGIN] = login;
    ours.call[ENCRYPT_INIT] = encrypt_init;
    *list = &ours;
    return OK;
}
