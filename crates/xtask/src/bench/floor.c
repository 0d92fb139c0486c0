/* The kernel's floor: what one confined container costs when nothing but the kernel works.
 *
 * usage: floor none|bridge LOWER SCRATCH CGROUP
 *
 * The same steps as `wadah run --rm IMAGE true`: a cgroup in every version 1 hierarchy, all
 * namespaces, an overlay of LOWER with directories in SCRATCH, the usual mounts and devices, masked
 * and read-only paths, pivot_root, a seccomp filter, exec of /bin/true, wait, removal. With `bridge`
 * also a veth pair into the namespace, its address and route, and one element of a firewall map.
 * No argument is checked beyond what keeps it from harm: it is a measuring stick.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <endian.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    exit(1);
}

#define TRY(call) do { if ((call) < 0) die(#call); } while (0)

/* ---- control groups, version 1 ---- */

static const char *CONTROLLERS[] = {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"};
enum { CONTROLLER_COUNT = 8 };
static int tasks[CONTROLLER_COUNT];

static void copy_file(const char *from, const char *to) {
    char text[256];
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, sizeof text);
    close(fd);
    fd = open(to, O_WRONLY | O_CLOEXEC);
    if (length > 0 && write(fd, text, length) < 0) die(to);
    close(fd);
}

static void make_cgroups(const char *name) {
    char path[512], parent[512];
    for (int i = 0; i < CONTROLLER_COUNT; i++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s", CONTROLLERS[i], name);
        TRY(mkdir(path, 0755));
        if (!strcmp(CONTROLLERS[i], "cpuset")) {
            static const char *files[] = {"cpuset.cpus", "cpuset.mems"};
            for (int j = 0; j < 2; j++) {
                snprintf(parent, sizeof parent, "/sys/fs/cgroup/cpuset/%s", files[j]);
                snprintf(path, sizeof path, "/sys/fs/cgroup/cpuset/%s/%s", name, files[j]);
                copy_file(parent, path);
            }
        }
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s/tasks", CONTROLLERS[i], name);
        TRY(tasks[i] = open(path, O_WRONLY | O_CLOEXEC));
    }
}

static void remove_cgroups(const char *name) {
    char path[512];
    for (int i = 0; i < CONTROLLER_COUNT; i++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s", CONTROLLERS[i], name);
        TRY(rmdir(path));
    }
}

/* ---- netlink ---- */

struct message {
    char bytes[2048];
    size_t length;
    size_t header; /* where the current message begins */
};

static void begin(struct message *m, int type, int flags) {
    m->header = m->length;
    struct nlmsghdr *h = (void *)(m->bytes + m->length);
    memset(h, 0, sizeof *h);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    m->length += sizeof *h;
}

static void put(struct message *m, const void *data, size_t length) {
    memcpy(m->bytes + m->length, data, length);
    memset(m->bytes + m->length + length, 0, NLMSG_ALIGN(length) - length);
    m->length += NLMSG_ALIGN(length);
}

static size_t nest(struct message *m, int type) {
    struct rtattr a = {.rta_type = type};
    size_t at = m->length;
    put(m, &a, sizeof a);
    return at;
}

static void close_nest(struct message *m, size_t at) {
    ((struct rtattr *)(m->bytes + at))->rta_len = m->length - at;
}

static void attribute(struct message *m, int type, const void *data, size_t length) {
    struct rtattr a = {.rta_len = RTA_LENGTH(length), .rta_type = type};
    put(m, &a, sizeof a);
    put(m, data, length);
}

static void end(struct message *m) {
    ((struct nlmsghdr *)(m->bytes + m->header))->nlmsg_len = m->length - m->header;
}

static void talk(int fd, struct message *m) {
    char reply[4096];
    TRY(send(fd, m->bytes, m->length, 0));
    ssize_t length = recv(fd, reply, sizeof reply, 0);
    struct nlmsghdr *h = (void *)reply;
    if (length < 0) die("recv");
    if (h->nlmsg_type == NLMSG_ERROR) {
        int error = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
        if (error) {
            errno = error;
            die("netlink");
        }
    }
    m->length = 0;
}

static void make_veth(int fd, const char *host, int bridge, int namespace) {
    struct message m = {.length = 0};
    struct ifinfomsg up = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, down = {0};
    begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
    put(&m, &up, sizeof up);
    attribute(&m, IFLA_IFNAME, host, strlen(host) + 1);
    attribute(&m, IFLA_MASTER, &bridge, 4);
    size_t info = nest(&m, IFLA_LINKINFO);
    attribute(&m, IFLA_INFO_KIND, "veth", 4);
    size_t data = nest(&m, IFLA_INFO_DATA), peer = nest(&m, VETH_INFO_PEER);
    put(&m, &down, sizeof down);
    attribute(&m, IFLA_IFNAME, "eth0", 5);
    attribute(&m, IFLA_NET_NS_FD, &namespace, 4);
    close_nest(&m, peer);
    close_nest(&m, data);
    close_nest(&m, info);
    end(&m);
    talk(fd, &m);
}

static int index_of(int fd, const char *name) {
    struct message m = {.length = 0};
    struct ifinfomsg none = {0};
    char reply[8192];
    begin(&m, RTM_GETLINK, 0);
    put(&m, &none, sizeof none);
    attribute(&m, IFLA_IFNAME, name, strlen(name) + 1);
    end(&m);
    TRY(send(fd, m.bytes, m.length, 0));
    TRY(recv(fd, reply, sizeof reply, 0));
    struct nlmsghdr *h = (void *)reply;
    return h->nlmsg_type == RTM_NEWLINK ? ((struct ifinfomsg *)NLMSG_DATA(h))->ifi_index : -1;
}

static void link_up(int fd, int index) {
    struct message m = {.length = 0};
    struct ifinfomsg up = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(&m, RTM_NEWLINK, NLM_F_ACK);
    put(&m, &up, sizeof up);
    end(&m);
    talk(fd, &m);
}

static void address_and_route(int fd, int index) {
    struct message m = {.length = 0};
    unsigned char own[4] = {10, 250, 0, 2}, gateway[4] = {10, 250, 0, 1};
    struct ifaddrmsg a = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = index};
    begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_ACK);
    put(&m, &a, sizeof a);
    attribute(&m, IFA_LOCAL, own, 4);
    attribute(&m, IFA_ADDRESS, own, 4);
    end(&m);
    talk(fd, &m);
    link_up(fd, index);
    struct rtmsg r = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                      .rtm_type = RTN_UNICAST};
    begin(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_ACK);
    put(&m, &r, sizeof r);
    attribute(&m, RTA_GATEWAY, gateway, 4);
    end(&m);
    talk(fd, &m);
}

static void batch_edge(struct message *m, int type) {
    struct nfgenmsg g = {.nfgen_family = AF_UNSPEC, .res_id = htobe16(NFNL_SUBSYS_NFTABLES)};
    begin(m, type, 0);
    put(m, &g, sizeof g);
    end(m);
}

/* One element of the map `floor_ports` in the table `floor`, which the caller has made. */
static void map_element(int fd, int remove) {
    struct message m = {.length = 0};
    struct nfgenmsg g = {.nfgen_family = AF_INET};
    unsigned char port[4] = {0x1f, 0x90, 0, 0}, target[4] = {10, 250, 0, 2};
    batch_edge(&m, NFNL_MSG_BATCH_BEGIN);
    begin(&m, NFNL_SUBSYS_NFTABLES << 8 | (remove ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM),
          NLM_F_ACK | (remove ? 0 : NLM_F_CREATE));
    put(&m, &g, sizeof g);
    attribute(&m, NFTA_SET_ELEM_LIST_TABLE, "floor", 6);
    attribute(&m, NFTA_SET_ELEM_LIST_SET, "floor_ports", 12);
    size_t list = nest(&m, NLA_F_NESTED | NFTA_SET_ELEM_LIST_ELEMENTS), element = nest(&m, NLA_F_NESTED | NFTA_LIST_ELEM);
    size_t key = nest(&m, NLA_F_NESTED | NFTA_SET_ELEM_KEY);
    attribute(&m, NFTA_DATA_VALUE, port, 2);
    close_nest(&m, key);
    size_t data = nest(&m, NLA_F_NESTED | NFTA_SET_ELEM_DATA);
    attribute(&m, NFTA_DATA_VALUE, target, 4);
    close_nest(&m, data);
    close_nest(&m, element);
    close_nest(&m, list);
    end(&m);
    batch_edge(&m, NFNL_MSG_BATCH_END);
    talk(fd, &m);
}

static int netlink(int protocol) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0) die("socket");
    return fd;
}

/* Leaves the process in the host's namespace and gives a new one, connected to the bridge. */
static int make_network(int firewall, char *host) {
    int own, namespace, host_link = netlink(NETLINK_ROUTE);
    TRY(own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    TRY(unshare(CLONE_NEWNET));
    TRY(namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    int inner_link = netlink(NETLINK_ROUTE);
    TRY(setns(own, CLONE_NEWNET));
    snprintf(host, 16, "fl%d", getpid());
    make_veth(host_link, host, index_of(host_link, "floor0"), namespace);
    link_up(inner_link, 1);
    address_and_route(inner_link, index_of(inner_link, "eth0"));
    map_element(firewall, 0);
    close(own);
    close(host_link);
    close(inner_link);
    return namespace;
}

/* ---- the container's side ---- */

static void make_devices(void) {
    static const struct { const char *name; int major, minor; } devices[] = {
        {"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
    char path[64];
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        snprintf(path, sizeof path, "dev/%s", devices[i].name);
        TRY(mknod(path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
    }
    TRY(symlink("/proc/self/fd", "dev/fd"));
    TRY(symlink("/proc/self/fd/0", "dev/stdin"));
    TRY(symlink("/proc/self/fd/1", "dev/stdout"));
    TRY(symlink("/proc/self/fd/2", "dev/stderr"));
    TRY(symlink("pts/ptmx", "dev/ptmx"));
}

static void mount_all(const char *lower, const char *scratch) {
    char options[1024], root[512];
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work,volatile", lower, scratch, scratch);
    snprintf(root, sizeof root, "%s/root", scratch);
    TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    TRY(mount("overlay", root, "overlay", 0, options));
    TRY(chdir(root));
    TRY(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    TRY(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"));
    TRY(mkdir("dev/pts", 0755));
    TRY(mkdir("dev/shm", 01777));
    TRY(mkdir("dev/mqueue", 01777));
    TRY(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    TRY(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"));
    TRY(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    TRY(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL));
    make_devices();
}

static void hide(void) {
    static const char *masked[] = {"proc/kcore", "proc/keys", "proc/timer_list", "proc/interrupts"};
    static const char *masked_directories[] = {"proc/acpi", "proc/scsi", "sys/firmware"};
    static const char *read_only[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
        if (mount("dev/null", masked[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT) die(masked[i]);
    for (size_t i = 0; i < sizeof masked_directories / sizeof *masked_directories; i++)
        if (mount("tmpfs", masked_directories[i], "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1") < 0 && errno != ENOENT)
            die(masked_directories[i]);
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) {
        if (mount(read_only[i], read_only[i], NULL, MS_BIND, NULL) < 0) {
            if (errno == ENOENT) continue;
            die(read_only[i]);
        }
        TRY(mount(NULL, read_only[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    }
}

/* The directories of a fresh overlay, and their removal with what the kernel leaves in them. */
static void make_scratch(const char *scratch) {
    static const char *made[] = {"", "/upper", "/work", "/root"};
    char path[512];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", scratch, made[i]);
        TRY(mkdir(path, 0700));
    }
}

static void remove_scratch(const char *scratch) {
    static const char *left[] = {"/work/work/incompat/volatile/dirty", "/work/work/incompat/volatile", "/work/work/incompat", "/work/work", "/work", "/upper", "/root", ""};
    char path[512];
    for (int i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "%s%s", scratch, left[i]);
        TRY(remove(path));
    }
}

/* As long as the default profile's filter, and as expensive to load. */
static void filter(void) {
    enum { LENGTH = 475 };
    static struct sock_filter code[LENGTH];
    for (int i = 0; i < LENGTH - 1; i++) code[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    code[LENGTH - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = LENGTH, .filter = code};
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    TRY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static int contain(const char *lower, const char *scratch, int namespace) {
    char *arguments[] = {"true", NULL}, *environment[] = {"PATH=/bin", NULL};
    for (int i = 0; i < CONTROLLER_COUNT; i++)
        if (write(tasks[i], "0", 1) != 1) die("tasks");
    TRY(unshare(CLONE_NEWCGROUP));
    if (namespace >= 0) TRY(setns(namespace, CLONE_NEWNET));
    TRY(sethostname("floor", 5));
    mount_all(lower, scratch);
    hide();
    TRY(syscall(SYS_pivot_root, ".", "."));
    TRY(umount2(".", MNT_DETACH));
    TRY(chdir("/"));
    filter();
    TRY(execve("/bin/true", arguments, environment));
    return 1;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    int bridge = !strcmp(arguments[1], "bridge"), namespace = -1, firewall = -1, status;
    char name[256], host[16];
    snprintf(name, sizeof name, "%s", arguments[4]);
    make_scratch(arguments[3]);
    make_cgroups(name);
    if (bridge) {
        firewall = netlink(NETLINK_NETFILTER);
        namespace = make_network(firewall, host);
    }
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | (bridge ? 0 : CLONE_NEWNET),
        .exit_signal = SIGCHLD,
    };
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) die("clone3");
    if (pid == 0) return contain(arguments[2], arguments[3], namespace);
    TRY(waitpid(pid, &status, 0));
    if (bridge) map_element(firewall, 1);
    remove_cgroups(name);
    remove_scratch(arguments[3]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
