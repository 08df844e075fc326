// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Never loaded. Its BTF holds every shared struct and enum, also those that no program names as a type, for the
// test that compares them with agent/datapath-layout.ts.
#include "shunt.h"

struct address layout_address;
struct endpoint layout_endpoint;
struct ipcache_key layout_ipcache_key;
struct ipcache_entry layout_ipcache_entry;
struct service_key layout_service_key;
struct service layout_service;
struct backend_key layout_backend_key;
struct backend layout_backend;
struct maglev_key layout_maglev_key;
struct maglev_chunk layout_maglev_chunk;
struct member_key layout_member_key;
struct member layout_member;
struct affinity_key layout_affinity_key;
struct affinity layout_affinity;
struct source_range_key layout_source_range_key;
struct lb_stats_key layout_lb_stats_key;
struct lb_stats layout_lb_stats;
struct tuple layout_tuple;
struct nat_entry layout_nat_entry;
struct fragment_key layout_fragment_key;
struct fragment_ports layout_fragment_ports;
struct socket_nat_key layout_socket_nat_key;
struct socket_nat layout_socket_nat;
struct policy_table_key layout_policy_table_key;
struct policy_table layout_policy_table;
struct policy_network_key layout_policy_network_key;
struct policy_port_key layout_policy_port_key;
struct policy_verdict layout_policy_verdict;
struct policy_prefix_key layout_policy_prefix_key;
struct policy_flow layout_policy_flow;
struct policy_denial_key layout_policy_denial_key;
struct policy_denial layout_policy_denial;
struct counter layout_counter;
struct config layout_config;
enum endpoint_flag layout_endpoint_flag;
enum ipcache_flag layout_ipcache_flag;
enum service_flag layout_service_flag;
enum nat_flag layout_nat_flag;
enum flow_timeout layout_flow_timeout;
enum flow_stat layout_flow_stat;
enum config_flag layout_config_flag;
enum policy_flag layout_policy_flag;
enum policy_action layout_policy_action;
enum policy_prefix_kind layout_policy_prefix_kind;
enum policy_flow_flag layout_policy_flow_flag;
enum direction layout_direction;
enum verdict layout_verdict;
enum reason layout_reason;
