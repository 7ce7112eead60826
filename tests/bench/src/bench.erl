%% The workloads on Erlang/OTP, with `!` and `receive`: what its processes cost at least.
%% Called as `erl +S N:N -noshell -s bench main <workload> <scale>`; prints "<ns> [<bytes>]".
-module(bench).
-export([main/1, node_loop/6]).

main([Workload, Scale]) ->
    %% A crash ends the program with a message instead of leaving it waiting.
    {Pid, Ref} = spawn_monitor(fun() -> measure(Workload, number(atom_to_list(Scale))) end),
    receive
        {'DOWN', Ref, process, Pid, normal} -> halt(0);
        {'DOWN', Ref, process, Pid, Why} ->
            io:format(standard_error, "a message was lost: ~0p~n", [Why]),
            halt(1)
    end.

number(Text) ->
    try list_to_float(Text) catch error:badarg -> float(list_to_integer(Text)) end.

measure(Workload, Scale) ->
    case Workload of
        spawn -> ok;
        _ -> apart(fun() -> run(Workload, 0.07 * Scale) end)
    end,
    case apart(fun() -> run(Workload, Scale) end) of
        {Ops, Ns} -> io:format("~.2f~n", [Ns / Ops]);
        {Ops, Ns, Bytes} -> io:format("~.2f ~.1f~n", [Ns / Ops, float(Bytes)])
    end.

%% Runs in a process of its own, with a heap and a mailbox of its own.
apart(Fun) ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({done, Fun()}) end),
    receive
        {'DOWN', Ref, process, Pid, {done, Result}} -> Result;
        {'DOWN', Ref, process, Pid, Why} -> exit(Why)
    end.

scaled(Full, Scale, Least) -> max(Least, trunc(Full * Scale)).

run(tell, Scale) ->
    N = scaled(5000000, Scale, 1000),
    A = new(N), T = now_(), tell(A, N), hits(1), Ns = ns(T),
    check(N, count(A)), {N, Ns};
run(fanin, Scale) ->
    N = scaled(500000, Scale, 1000),
    A = new(8 * N), T = now_(), parallel(8, fun() -> tell(A, N) end), hits(1), Ns = ns(T),
    check(8 * N, count(A)), {8 * N, Ns};
run(ask, Scale) ->
    N = scaled(500000, Scale, 1000),
    A = new(-1), T = now_(), asks(A, N), Ns = ns(T),
    check(N, count(A)), {N, Ns};
run(ask64, Scale) ->
    N = scaled(500000, Scale, 6400) div 64,
    A = new(-1), T = now_(), parallel(64, fun() -> asks(A, N) end), Ns = ns(T),
    check(64 * N, count(A)), {64 * N, Ns};
run(pingpong, Scale) -> ring(2, scaled(2000000, Scale, 1000));
run(ring, Scale) -> ring(1000, scaled(2000000, Scale, 10000));
run(busy, Scale) ->
    K = 10000, Visits = scaled(200, Scale, 10),
    Ps = news(K, -1), persistent_term:put(peers, list_to_tuple(Ps)),
    lists:foldl(fun(P, I) -> P ! {peers, peers, I * 7919}, I + 1 end, 1, Ps),
    counts(Ps),
    T = now_(), [P ! {hop, Visits - 1} || P <- Ps], hits(K), Ns = ns(T),
    check(K * Visits, counts(Ps)), stop(Ps), {K * Visits, Ns};
run(pub100, Scale) -> publish(100, Scale);
run(pub1k, Scale) -> publish(1000, Scale);
run(pub10k, Scale) -> publish(10000, Scale);
run(spawn, Scale) ->
    K = scaled(200000, Scale, 1000),
    M = memory(), T = now_(),
    Ps = news(K, -1), ask(lists:last(Ps), 0), Ns = ns(T),
    %% Two words of our list and eight of state for each are not the system's doing.
    Bytes = (memory() - M) / K - 16 - 64,
    {K, Ns, Bytes}.

ring(K, Hops) ->
    Ps = news(K, -1),
    lists:zipwith(fun(P, Next) -> P ! {next, Next} end, Ps, tl(Ps) ++ [hd(Ps)]),
    counts(Ps),
    T = now_(), hd(Ps) ! {hop, Hops}, hits(1), Ns = ns(T),
    check(Hops + 1, counts(Ps)), {Hops, Ns}.

publish(K, Scale) ->
    Rounds = max(2, scaled(2000000, Scale, 0) div K),
    Ps = news(K, Rounds), counts(Ps),
    T = now_(), publish_rounds(Ps, Rounds), hits(K), Ns = ns(T),
    check(K * Rounds, counts(Ps)), stop(Ps), {K * Rounds, Ns}.

publish_rounds(_, 0) -> ok;
publish_rounds(Ps, Round) ->
    Event = {Round, 2, 3, 4, 5, 6, 7, Round},
    [P ! {event, Event} || P <- Ps],
    publish_rounds(Ps, Round - 1).

%% The actor: Sum, Count, Target, Latch, Where (the next one, or the peers), Random.
node_loop(Sum, Count, Target, Latch, Where, Random) ->
    receive
        {add, Value} -> took(Sum + Value, Count + 1, Target, Latch, Where, Random);
        {ask, From, Ref, Value} ->
            From ! {Ref, Sum + Value},
            node_loop(Sum + Value, Count + 1, Target, Latch, Where, Random);
        {count, From, Ref} ->
            From ! {Ref, Count},
            node_loop(Sum, Count, Target, Latch, Where, Random);
        {hop, 0} ->
            Latch ! hit,
            node_loop(Sum, Count + 1, Target, Latch, Where, Random);
        {hop, Hops} when is_pid(Where) ->
            Where ! {hop, Hops - 1},
            node_loop(Sum, Count + 1, Target, Latch, Where, Random);
        {hop, Hops} ->
            Next = (Random * 1103515245 + 12345) band 16#7fffffff,
            element(1 + ((Next bsr 8) rem tuple_size(Where)), Where) ! {hop, Hops - 1},
            node_loop(Sum, Count + 1, Target, Latch, Where, Next);
        {next, Next} -> node_loop(Sum, Count, Target, Latch, Next, Random);
        {peers, Key, Seed} -> node_loop(Sum, Count, Target, Latch, persistent_term:get(Key), Seed);
        {event, Event} ->
            Value = element(1, Event) bxor element(8, Event),
            took(Sum + Value, Count + 1, Target, Latch, Where, Random)
    end.

took(Sum, Target, Target, Latch, Where, Random) ->
    Latch ! hit,
    node_loop(Sum, Target, Target, Latch, Where, Random);
took(Sum, Count, Target, Latch, Where, Random) ->
    node_loop(Sum, Count, Target, Latch, Where, Random).

new(Target) -> spawn(?MODULE, node_loop, [0, 0, Target, self(), undefined, 1]).
news(K, Target) -> [new(Target) || _ <- lists:seq(1, K)].
stop(Ps) -> [exit(P, kill) || P <- Ps].

%% As gen_server:call does: a monitor, so that an asker hears of the end.
call(A, Message) ->
    Ref = monitor(process, A),
    A ! erlang:append_element(Message, Ref),
    receive {Ref, Reply} -> demonitor(Ref, [flush]), Reply end.
ask(A, Value) ->
    Ref = monitor(process, A),
    A ! {ask, self(), Ref, Value},
    receive {Ref, Reply} -> demonitor(Ref, [flush]), Reply end.
count(A) -> call(A, {count, self()}).
counts(Ps) -> lists:sum([count(P) || P <- Ps]).

tell(_, 0) -> ok;
tell(A, N) -> A ! {add, N}, tell(A, N - 1).
asks(_, 0) -> ok;
asks(A, N) -> ask(A, N), asks(A, N - 1).
hits(0) -> ok;
hits(N) -> receive hit -> hits(N - 1) end.
parallel(K, Fun) ->
    Me = self(),
    [spawn(fun() -> Fun(), Me ! sent end) || _ <- lists:seq(1, K)],
    [receive sent -> ok end || _ <- lists:seq(1, K)].

check(Same, Same) -> ok;
check(Sent, Arrived) -> exit({sent, Sent, arrived, Arrived}).
memory() -> erlang:memory(processes) + erlang:memory(ets).
now_() -> erlang:monotonic_time(nanosecond).
ns(T) -> erlang:monotonic_time(nanosecond) - T.
