/* A cryptographic provider without cryptography: CryptoAPI's handle rules over one array.
 *
 * Built by the tests where a real shared library is needed (cffi). Handles look like heap addresses
 * and are recycled at once, the last one freed first. A context takes its keys and hashes with it.
 * Every call is counted; read the count with fake_calls("CryptGenKey").
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uintptr_t HANDLE_T;
typedef uint32_t DWORD;
typedef int BOOL;

enum { SLOTS = 4096, FIRST = 0x00B10000, STEP = 0x40, CALLS = 64, CONTAINERS = 64, NAME = 128 };
enum { FREE, PROV, KEY, HASH };
enum {
    VERIFYCONTEXT = 0xF0000000,
    NEWKEYSET = 8,
    DELETEKEYSET = 16,
    DESTROYKEY = 4,
    INVALID_PARAMETER = 87,
    MORE_DATA = 234
};
#define BAD_FLAGS 0x80090009u
#define NO_KEY 0x8009000Du
#define EXISTS 0x8009000Fu
#define BAD_KEYSET 0x80090016u

static struct { int kind, refs, container; HANDLE_T parent; } slots[SLOTS];
static int freed[SLOTS], freed_count, fresh;
static struct { char name[NAME]; int keys; } containers[CONTAINERS];
static struct { const char *name; int count; } calls[CALLS];
static DWORD last_error;
static int lock;

/* One call at a time is in the array. */
static void enter(const char *name)
{
    int i;
    while (__sync_lock_test_and_set(&lock, 1))
        ;
    for (i = 0; i < CALLS - 1 && calls[i].name && strcmp(calls[i].name, name); i++)
        ;
    calls[i].name = name;
    calls[i].count++;
}

static BOOL leave(DWORD error)
{
    if (error)
        last_error = error;
    __sync_lock_release(&lock);
    return error == 0;
}

static int slot_of(HANDLE_T handle, int kind)
{
    HANDLE_T index = (handle - FIRST) / STEP;
    if (handle < FIRST || handle % STEP || index >= SLOTS || slots[index].kind != kind)
        return -1;
    return (int)index;
}

static DWORD give(int kind, HANDLE_T parent, HANDLE_T *out)
{
    int slot;
    if (!out)
        return INVALID_PARAMETER;
    slot = freed_count ? freed[--freed_count] : fresh++;
    slots[slot].kind = kind;
    slots[slot].refs = 1;
    slots[slot].parent = parent;
    slots[slot].container = -1;
    *out = FIRST + (HANDLE_T)slot * STEP;
    return 0;
}

static void take(int slot)
{
    slots[slot].kind = FREE;
    freed[freed_count++] = slot;
}

static int find_container(const char *name)
{
    int i;
    for (i = 0; i < CONTAINERS; i++)
        if (containers[i].name[0] && !strcmp(containers[i].name, name))
            return i;
    return -1;
}

static DWORD acquire(HANDLE_T *out, const char *name, DWORD flags)
{
    int container = -1;
    DWORD error;
    if (!(flags & VERIFYCONTEXT)) {
        if (!name || !*name || strlen(name) >= NAME)
            return INVALID_PARAMETER;
        container = find_container(name);
        if (flags & DELETEKEYSET) {
            if (container < 0)
                return BAD_KEYSET;
            memset(&containers[container], 0, sizeof containers[container]);
            *out = 0xBAD0; /* undefined, says the documentation */
            return 0;
        }
        if (flags & NEWKEYSET) {
            if (container >= 0)
                return EXISTS;
            for (container = 0; containers[container].name[0]; container++)
                ;
            strcpy(containers[container].name, name);
        } else if (container < 0)
            return BAD_KEYSET;
    }
    error = give(PROV, 0, out);
    if (!error)
        slots[slot_of(*out, PROV)].container = container;
    return error;
}

BOOL CryptAcquireContextA(
    HANDLE_T *phProv, const char *szContainer, const char *szProvider, DWORD dwProvType,
    DWORD dwFlags)
{
    (void)szProvider, (void)dwProvType;
    enter("CryptAcquireContextA");
    return leave(acquire(phProv, szContainer, dwFlags));
}

BOOL CryptContextAddRef(HANDLE_T hProv, DWORD *pdwReserved, DWORD dwFlags)
{
    int slot;
    (void)pdwReserved, (void)dwFlags;
    enter("CryptContextAddRef");
    slot = slot_of(hProv, PROV);
    if (slot < 0)
        return leave(INVALID_PARAMETER);
    slots[slot].refs++;
    return leave(0);
}

BOOL CryptReleaseContext(HANDLE_T hProv, DWORD dwFlags)
{
    int i, slot;
    enter("CryptReleaseContext");
    slot = slot_of(hProv, PROV);
    if (slot < 0)
        return leave(INVALID_PARAMETER);
    if (--slots[slot].refs > 0)
        return leave(0);
    for (i = 0; i < fresh; i++)
        if (slots[i].kind > PROV && slots[i].parent == hProv)
            take(i);
    take(slot);
    return leave(dwFlags ? BAD_FLAGS : 0);
}

BOOL CryptGenRandom(HANDLE_T hProv, DWORD dwLen, unsigned char *pbBuffer)
{
    enter("CryptGenRandom");
    if (slot_of(hProv, PROV) < 0)
        return leave(INVALID_PARAMETER);
    memset(pbBuffer, 7, dwLen);
    return leave(0);
}

static DWORD child(int kind, HANDLE_T hProv, HANDLE_T *out)
{
    return slot_of(hProv, PROV) < 0 ? INVALID_PARAMETER : give(kind, hProv, out);
}

BOOL CryptGenKey(HANDLE_T hProv, DWORD Algid, DWORD dwFlags, HANDLE_T *phKey)
{
    DWORD error;
    (void)dwFlags;
    enter("CryptGenKey");
    error = child(KEY, hProv, phKey);
    if (!error && Algid <= 2 && slots[slot_of(hProv, PROV)].container >= 0)
        containers[slots[slot_of(hProv, PROV)].container].keys |= (int)Algid;
    return leave(error);
}

BOOL CryptGetUserKey(HANDLE_T hProv, DWORD dwKeySpec, HANDLE_T *phUserKey)
{
    int slot;
    enter("CryptGetUserKey");
    slot = slot_of(hProv, PROV);
    if (slot < 0)
        return leave(INVALID_PARAMETER);
    if (slots[slot].container < 0 || !(containers[slots[slot].container].keys & (int)dwKeySpec))
        return leave(NO_KEY);
    return leave(give(KEY, hProv, phUserKey));
}

BOOL CryptDeriveKey(
    HANDLE_T hProv, DWORD Algid, HANDLE_T hBaseData, DWORD dwFlags, HANDLE_T *phKey)
{
    (void)Algid, (void)dwFlags;
    enter("CryptDeriveKey");
    if (slot_of(hBaseData, HASH) < 0)
        return leave(INVALID_PARAMETER);
    return leave(child(KEY, hProv, phKey));
}

BOOL CryptImportKey(
    HANDLE_T hProv, const unsigned char *pbData, DWORD dwDataLen, HANDLE_T hPubKey, DWORD dwFlags,
    HANDLE_T *phKey)
{
    (void)dwFlags, (void)hPubKey;
    enter("CryptImportKey");
    if (!pbData || !dwDataLen)
        return leave(INVALID_PARAMETER);
    return leave(child(KEY, hProv, phKey));
}

BOOL CryptExportKey(
    HANDLE_T hKey, HANDLE_T hExpKey, DWORD dwBlobType, DWORD dwFlags, unsigned char *pbData,
    DWORD *pdwDataLen)
{
    int slot;
    (void)hExpKey, (void)dwBlobType;
    enter("CryptExportKey");
    slot = slot_of(hKey, KEY);
    if (slot < 0 || !pdwDataLen)
        return leave(INVALID_PARAMETER);
    if (pbData && *pdwDataLen < 16) {
        *pdwDataLen = 16;
        return leave(MORE_DATA);
    }
    *pdwDataLen = 16;
    if (pbData) {
        memset(pbData, 1, 16);
        if (dwFlags & DESTROYKEY)
            take(slot);
    }
    return leave(0);
}

BOOL CryptDuplicateKey(HANDLE_T hKey, DWORD *pdwReserved, DWORD dwFlags, HANDLE_T *phKey)
{
    int slot;
    (void)pdwReserved, (void)dwFlags;
    enter("CryptDuplicateKey");
    slot = slot_of(hKey, KEY);
    return leave(slot < 0 ? INVALID_PARAMETER : give(KEY, slots[slot].parent, phKey));
}

static DWORD destroy(int kind, HANDLE_T handle)
{
    int slot = slot_of(handle, kind);
    if (slot < 0)
        return INVALID_PARAMETER;
    take(slot);
    return 0;
}

BOOL CryptDestroyKey(HANDLE_T hKey)
{
    enter("CryptDestroyKey");
    return leave(destroy(KEY, hKey));
}

BOOL CryptCreateHash(
    HANDLE_T hProv, DWORD Algid, HANDLE_T hKey, DWORD dwFlags, HANDLE_T *phHash)
{
    (void)Algid, (void)dwFlags;
    enter("CryptCreateHash");
    if (hKey && slot_of(hKey, KEY) < 0)
        return leave(INVALID_PARAMETER);
    return leave(child(HASH, hProv, phHash));
}

BOOL CryptDuplicateHash(HANDLE_T hHash, DWORD *pdwReserved, DWORD dwFlags, HANDLE_T *phHash)
{
    int slot;
    (void)pdwReserved, (void)dwFlags;
    enter("CryptDuplicateHash");
    slot = slot_of(hHash, HASH);
    return leave(slot < 0 ? INVALID_PARAMETER : give(HASH, slots[slot].parent, phHash));
}

BOOL CryptHashData(HANDLE_T hHash, const unsigned char *pbData, DWORD dwDataLen, DWORD dwFlags)
{
    (void)pbData, (void)dwDataLen, (void)dwFlags;
    enter("CryptHashData");
    return leave(slot_of(hHash, HASH) < 0 ? INVALID_PARAMETER : 0);
}

BOOL CryptDestroyHash(HANDLE_T hHash)
{
    enter("CryptDestroyHash");
    return leave(destroy(HASH, hHash));
}

DWORD GetLastError(void)
{
    return last_error;
}

int fake_calls(const char *name)
{
    int i;
    for (i = 0; i < CALLS && calls[i].name; i++)
        if (!strcmp(calls[i].name, name))
            return calls[i].count;
    return 0;
}
