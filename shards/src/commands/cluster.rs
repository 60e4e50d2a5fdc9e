//! CLUSTER and its kin, as a server answers that is no part of a cluster.

use super::table::{Command, Home, Route, Run, flags};

pub static COMMANDS: &[Command] = &[
    Command::new("cluster", -2, 0, Route::Home, Run::Container)
        .acl(&["slow"])
        .doc("cluster", "3.0.0", "Depends on subcommand.", "A container for Redis Cluster commands.")
        .subcommands(&[
            Command::new(
                "cluster|addslots",
                -3,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("slot:integer...")
            .doc(
                "cluster",
                "3.0.0",
                "O(N) where N is the total number of hash slot arguments",
                "Assigns new hash slots to a node.",
            ),
            Command::new(
                "cluster|addslotsrange",
                -4,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("range(start-slot:integer end-slot:integer)...")
            .doc(
                "cluster",
                "7.0.0",
                "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
                "Assigns new hash slot ranges to a node.",
            ),
            Command::new(
                "cluster|bumpepoch",
                2,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .tips(&["nondeterministic_output"])
            .doc("cluster", "3.0.0", "O(1)", "Advances the cluster config epoch."),
            Command::new("cluster|count-failure-reports", 3, flags::ADMIN | flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["admin", "slow", "dangerous"])
                .tips(&["nondeterministic_output"])
                .arguments("node-id")
                .doc(
                    "cluster",
                    "3.0.0",
                    "O(N) where N is the number of failure reports",
                    "Returns the number of active failure reports active for a node.",
                ),
            Command::new("cluster|countkeysinslot", 3, flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["slow"])
                .arguments("slot:integer")
                .doc("cluster", "3.0.0", "O(1)", "Returns the number of keys in a hash slot."),
            Command::new(
                "cluster|delslots",
                -3,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("slot:integer...")
            .doc(
                "cluster",
                "3.0.0",
                "O(N) where N is the total number of hash slot arguments",
                "Sets hash slots as unbound for a node.",
            ),
            Command::new(
                "cluster|delslotsrange",
                -4,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("range(start-slot:integer end-slot:integer)...")
            .doc(
                "cluster",
                "7.0.0",
                "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
                "Sets hash slot ranges as unbound for a node.",
            ),
            Command::new(
                "cluster|failover",
                -2,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("[options(FORCE | TAKEOVER)]")
            .doc("cluster", "3.0.0", "O(1)", "Forces a replica to perform a manual failover of its master."),
            Command::new(
                "cluster|flushslots",
                2,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .doc("cluster", "3.0.0", "O(1)", "Deletes all slots information from a node."),
            Command::new(
                "cluster|forget",
                3,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("node-id")
            .doc("cluster", "3.0.0", "O(1)", "Removes a node from the nodes table."),
            Command::new("cluster|getkeysinslot", 4, flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["slow"])
                .tips(&["nondeterministic_output"])
                .arguments("slot:integer count:integer")
                .doc("cluster", "3.0.0", "O(N) where N is the number of requested keys", "Returns the key names in a hash slot."),
            Command::new("cluster|help", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(disabled)).acl(&["slow"]).doc(
                "cluster",
                "5.0.0",
                "O(1)",
                "Returns helpful text about the different subcommands.",
            ),
            Command::new("cluster|info", 2, flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["slow"])
                .tips(&["nondeterministic_output"])
                .doc("cluster", "3.0.0", "O(1)", "Returns information about the state of a node."),
            Command::new("cluster|keyslot", 3, flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["slow"])
                .arguments("key:string")
                .doc("cluster", "3.0.0", "O(N) where N is the number of bytes in the key", "Returns the hash slot for a key."),
            Command::new("cluster|links", 2, flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["slow"])
                .tips(&["nondeterministic_output"])
                .doc(
                    "cluster",
                    "7.0.0",
                    "O(N) where N is the total number of Cluster nodes",
                    "Returns a list of all TCP links to and from peer nodes.",
                ),
            Command::new(
                "cluster|meet",
                -4,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("ip port:integer [cluster-bus-port:integer]")
            .doc("cluster", "3.0.0", "O(1)", "Forces a node to handshake with another node."),
            Command::new("cluster|myid", 2, flags::STALE, Route::Home, Run::Home(disabled)).acl(&["slow"]).doc(
                "cluster",
                "3.0.0",
                "O(1)",
                "Returns the ID of a node.",
            ),
            Command::new("cluster|myshardid", 2, flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["slow"])
                .tips(&["nondeterministic_output"])
                .doc("cluster", "7.2.0", "O(1)", "Returns the shard ID of a node."),
            Command::new("cluster|nodes", 2, flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["slow"])
                .tips(&["nondeterministic_output"])
                .doc(
                    "cluster",
                    "3.0.0",
                    "O(N) where N is the total number of Cluster nodes",
                    "Returns the cluster configuration for a node.",
                ),
            Command::new("cluster|replicas", 3, flags::ADMIN | flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["admin", "slow", "dangerous"])
                .tips(&["nondeterministic_output"])
                .arguments("node-id")
                .doc("cluster", "5.0.0", "O(N) where N is the number of replicas.", "Lists the replica nodes of a master node."),
            Command::new(
                "cluster|replicate",
                3,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("node-id")
            .doc("cluster", "3.0.0", "O(1)", "Configure a node as replica of a master node."),
            Command::new("cluster|reset", -2, flags::ADMIN | flags::NOSCRIPT | flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["admin", "slow", "dangerous"])
                .arguments("[reset-type(HARD | SOFT)]")
                .doc(
                    "cluster",
                    "3.0.0",
                    "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
                    "Resets a node.",
                ),
            Command::new(
                "cluster|saveconfig",
                2,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .doc("cluster", "3.0.0", "O(1)", "Forces a node to save the cluster configuration to disk."),
            Command::new(
                "cluster|set-config-epoch",
                3,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("config-epoch:integer")
            .doc("cluster", "3.0.0", "O(1)", "Sets the configuration epoch for a new node."),
            Command::new(
                "cluster|setslot",
                -4,
                flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING,
                Route::Home,
                Run::Home(disabled),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments(
                "slot:integer subcommand(IMPORTING importing=node-id | MIGRATING migrating=node-id | NODE node=node-id | STABLE)",
            )
            .doc("cluster", "3.0.0", "O(1)", "Binds a hash slot to a node."),
            Command::new("cluster|shards", 2, flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["slow"])
                .tips(&["nondeterministic_output"])
                .doc(
                    "cluster",
                    "7.0.0",
                    "O(N) where N is the total number of cluster nodes",
                    "Returns the mapping of cluster slots to shards.",
                ),
            Command::new("cluster|slaves", 3, flags::ADMIN | flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["admin", "slow", "dangerous"])
                .tips(&["nondeterministic_output"])
                .arguments("node-id")
                .doc("cluster", "3.0.0", "O(N) where N is the number of replicas.", "Lists the replica nodes of a master node."),
            Command::new("cluster|slots", 2, flags::STALE, Route::Home, Run::Home(disabled))
                .acl(&["slow"])
                .tips(&["nondeterministic_output"])
                .doc(
                    "cluster",
                    "3.0.0",
                    "O(N) where N is the total number of Cluster nodes",
                    "Returns the mapping of cluster slots to nodes.",
                ),
        ]),
    Command::new("readonly", 1, flags::LOADING | flags::STALE | flags::FAST, Route::Home, Run::Home(disabled))
        .acl(&["fast", "connection"])
        .doc("cluster", "3.0.0", "O(1)", "Enables read-only queries for a connection to a Redis Cluster replica node."),
    Command::new("readwrite", 1, flags::LOADING | flags::STALE | flags::FAST, Route::Home, Run::Home(disabled))
        .acl(&["fast", "connection"])
        .doc("cluster", "3.0.0", "O(1)", "Enables read-write queries for a connection to a Reids Cluster replica node."),
    Command::new("asking", 1, flags::FAST, Route::Home, Run::Home(disabled)).acl(&["fast", "connection"]).doc(
        "cluster",
        "3.0.0",
        "O(1)",
        "Signals that a cluster client is following an -ASK redirect.",
    ),
];

/// Every sub-command, HELP and KEYSLOT too, READONLY, READWRITE and ASKING.
fn disabled(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.reply.error("ERR This instance has cluster support disabled");
}
