/* A fictitious provider: vaults, keys and secrets in them, and signatures. 0 is success. */
#include <stddef.h>
#include <stdint.h>

#define MOST 4096
#define EXPORT __attribute__((visibility("default")))

enum sort { NOTHING, VAULT, KEY, SECRET, DRIVE, TICKET, LEFT };

static struct { enum sort sort; size_t vault; size_t master; int signing; } objects[MOST];

static int add(enum sort sort, size_t vault, size_t *out) {
    for (size_t at = 1; at < MOST; at++)
        if (objects[at].sort == NOTHING) {
            objects[at].sort = sort;
            objects[at].vault = vault;
            objects[at].master = 0;
            objects[at].signing = 0;
            *out = 0x1000 + at * 16;
            return 0;
        }
    return 9;
}

static size_t find(size_t handle, enum sort sort) {
    size_t at = (handle - 0x1000) / 16;
    return handle % 16 == 0 && at > 0 && at < MOST && objects[at].sort == sort ? at : 0;
}

EXPORT int VaultOpen(size_t *phVault) { return add(VAULT, 0, phVault); }

EXPORT int VaultClose(size_t hVault) {
    if (!find(hVault, VAULT)) return 1;
    for (size_t at = 1; at < MOST; at++)
        if (objects[at].sort != NOTHING && objects[at].vault == hVault) objects[at].sort = NOTHING;
    objects[find(hVault, VAULT)].sort = NOTHING;
    return 0;
}

static size_t count(size_t hVault) {
    size_t found = 0;
    for (size_t at = 1; at < MOST; at++)
        found += objects[at].sort == KEY && objects[at].vault == hVault;
    return found;
}

EXPORT int VaultKeysAllowed(size_t hVault, size_t *pcKeys) {
    if (!find(hVault, VAULT)) return 1;
    *pcKeys = 10;
    return 0;
}

EXPORT int VaultMakeKey(size_t hVault, size_t *phKey) {
    if (!find(hVault, VAULT)) return 1;
    return count(hVault) >= 10 ? 2 : add(KEY, hVault, phKey);
}

EXPORT int VaultMakeSecret(size_t hVault, size_t *phSecret) {
    return find(hVault, VAULT) ? add(SECRET, hVault, phSecret) : 1;
}

/* The vault's own key, which the vault keeps; a copy of it if dwFlags is 1. */
EXPORT int VaultMasterKey(size_t hVault, uint32_t dwFlags, size_t *phKey) {
    size_t at = find(hVault, VAULT);
    if (!at) return 1;
    if (dwFlags == 1) return add(KEY, hVault, phKey);
    if (!objects[at].master && add(KEY, hVault, &objects[at].master)) return 9;
    *phKey = objects[at].master;
    return 0;
}

EXPORT int VaultUse(size_t hObject) {
    return find(hObject, KEY) || find(hObject, SECRET) ? 0 : 1;
}

EXPORT int VaultFree(size_t hObject) {
    size_t at = find(hObject, KEY);
    if (!at) at = find(hObject, SECRET);
    if (!at) return 1;
    objects[at].sort = NOTHING;
    return 0;
}

/* A drive in which a vault is mounted; it owns the vault unless dwFlags is 1. */
EXPORT int DriveOpen(size_t hVault, uint32_t dwFlags, size_t *phDrive) {
    if (!find(hVault, VAULT)) return 1;
    if (add(DRIVE, 0, phDrive)) return 9;
    objects[find(*phDrive, DRIVE)].master = dwFlags == 1 ? 0 : hVault;
    return 0;
}

EXPORT int DriveClose(size_t hDrive) {
    size_t at = find(hDrive, DRIVE);
    if (!at) return 1;
    if (objects[at].master) VaultClose(objects[at].master);
    objects[at].sort = NOTHING;
    return 0;
}

/* A ticket is good for one use, unless it is to be kept. What is dropped stays in the vault. */
EXPORT int TicketOpen(size_t hVault, uint32_t dwMode, size_t *phTicket) {
    (void)dwMode;
    return find(hVault, VAULT) ? add(TICKET, hVault, phTicket) : 1;
}

EXPORT int TicketKeep(size_t hTicket, uint32_t dwKeep) {
    size_t at = find(hTicket, TICKET);
    if (!at) return 1;
    objects[at].signing = (int)dwKeep;
    return 0;
}

EXPORT int TicketMode(size_t hTicket, uint32_t dwMode) {
    (void)dwMode;
    return find(hTicket, TICKET) ? 0 : 1;
}

EXPORT int TicketUse(size_t hTicket) {
    size_t at = find(hTicket, TICKET);
    if (!at) return 1;
    if (!objects[at].signing) objects[at].sort = NOTHING;
    return 0;
}

EXPORT int TicketDrop(size_t hTicket) {
    size_t at = find(hTicket, TICKET);
    if (!at) return 1;
    objects[at].sort = LEFT;
    return 0;
}

EXPORT int TicketFree(size_t hTicket) {
    size_t at = find(hTicket, TICKET);
    if (!at) return 1;
    objects[at].sort = NOTHING;
    return 0;
}

EXPORT int VaultAddRef(size_t hVault) { return find(hVault, VAULT) ? 0 : 1; }

EXPORT int VaultSignStart(size_t hKey) {
    size_t at = find(hKey, KEY);
    if (!at || objects[at].signing) return 1;
    objects[at].signing = 1;
    return 0;
}

EXPORT int VaultSignUpdate(size_t hKey) {
    size_t at = find(hKey, KEY);
    return at && objects[at].signing ? 0 : 1;
}

EXPORT int VaultSignFinish(size_t hKey) {
    size_t at = find(hKey, KEY);
    if (!at || !objects[at].signing) return 1;
    objects[at].signing = 0;
    return 0;
}
