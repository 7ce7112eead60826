#!/usr/bin/env escript
%% -*- erlang -*-
%% Runs traces on OTP's own supervisors and prints what it saw, a line for each step:
%% the seed of the trace, the number of the step, what was started (+), failed to start (!),
%% had nothing to start (~) and was stopped (-), and then who is listed, up (+) or down (-).
%%
%% Its only argument is a file of terms {Seed, Root, Ops}, which erlang.rs writes. It needs OTP 24.

-mode(compile).
-export([main/1, init/1, start_worker/2, worker/3]).

main([File]) ->
    %% Reports of supervisors would go to standard output.
    ok = logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    {ok, Traces} = file:consult(File),
    lists:foreach(fun run/1, Traces).

%% Traces.

run({Seed, Root, Ops}) ->
    lists:foreach(fun(Table) -> ets:new(Table, [named_table, public, ordered_set]) end,
                  tables()),
    ets:insert(clock, {clock, 0}),
    {0, _, _, {Flags, Specs}} = Root,
    {ok, Pid} = supervisor:start_link(?MODULE, {start, 0, Flags, Specs}),
    show(Seed, 0, Pid),
    Last = lists:foldl(fun(Op, Step) ->
                               perform(Op),
                               show(Seed, Step, Pid),
                               Step + 1
                       end, 1, Ops),
    end_root(Seed, Last, Pid),
    lists:foreach(fun ets:delete/1, tables()).

%% log: what was done, by a rising number. pids: the process of a worker or of a supervisor, by
%% its own number. ids: the other way round. args: what a supervisor's init was last called with.
%% specs: each child as it is to be started. templates: a dynamic supervisor's child.
%% fates: what the next starts of a worker come to.
tables() ->
    [log, clock, pids, ids, args, specs, templates, fates].

%% A tree that is not over by then is told to stop; that is one more step.
end_root(Seed, Step, Pid) ->
    case is_process_alive(Pid) of
        true ->
            exit(Pid, shutdown),
            await_end(Pid),
            show(Seed, Step, Pid);
        false ->
            ok
    end,
    receive
        {'EXIT', Pid, Reason} -> shutdown = Reason
    end.

await_end(Pid) ->
    Monitor = monitor(process, Pid),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    end.

%% Steps.

perform({ends, Id, Exit}) ->
    case living(Id) of
        none -> ok;
        Pid when Exit =:= kill -> exit(Pid, kill), await_end(Pid);
        Pid -> Pid ! {ends, Exit}, await_end(Pid)
    end;
perform({fates, Id, Times, Fate}) ->
    Fates = case ets:lookup(fates, Id) of
                [{Id, Before}] -> Before;
                [] -> []
            end,
    ets:insert(fates, {Id, Fates ++ lists:duplicate(Times, Fate)});
perform({Op, To, What}) when Op =:= start; Op =:= stop; Op =:= start_again; Op =:= remove;
                             Op =:= set_flags ->
    case living(To) of
        none -> ok;
        Pid -> perform(Op, To, Pid, What)
    end;
perform({set_terms, To, Id, Restart, Significant}) ->
    case living(To) of
        none -> ok;
        Pid -> set_terms(Pid, To, Id, #{restart => Restart, significant => Significant})
    end.

%% Whether an order is refused shows in what is listed.
perform(start, To, Pid, {Id, _, _, _} = Spec) ->
    case ets:member(templates, To) of
        true -> supervisor:start_child(Pid, [Id]);
        false -> supervisor:start_child(Pid, spec(Spec))
    end;
perform(stop, To, Pid, Id) ->
    case ets:member(templates, To) of
        true ->
            case living(Id) of
                none -> ok;
                Child -> supervisor:terminate_child(Pid, Child)
            end;
        false ->
            supervisor:terminate_child(Pid, Id)
    end;
perform(start_again, _To, Pid, Id) ->
    supervisor:restart_child(Pid, Id);
perform(remove, _To, Pid, Id) ->
    supervisor:delete_child(Pid, Id);
perform(set_flags, To, Pid, Flags) ->
    %% Children that are not named stay as they are; a template has to be named.
    Specs = [Template || {_, Template} <- ets:lookup(templates, To)],
    ok = change(Pid, To, flags(Flags), Specs).

%% OTP changes one child by being told of all, in start order. If the combination is a bad one, it
%% changes none.
set_terms(Pid, To, Id, Terms) ->
    Ids = [Child || {Child, _, _, _} <- lists:reverse(supervisor:which_children(Pid))],
    case lists:member(Id, Ids) of
        true ->
            Specs = [case current(Pid, Child) of
                         #{id := Id} = Spec -> maps:merge(Spec, Terms);
                         Spec -> Spec
                     end || Child <- Ids],
            _ = change(Pid, To, current_flags(To), Specs),
            ok;
        false ->
            ok
    end.

%% The terms that hold now, with the start as it was given: OTP does not keep it for temporary
%% children.
current(Pid, Id) ->
    {ok, #{restart := Restart, significant := Significant}} = supervisor:get_childspec(Pid, Id),
    [{Id, Spec}] = ets:lookup(specs, Id),
    Spec#{restart := Restart, significant := Significant}.

current_flags(Id) ->
    case ets:lookup(args, Id) of
        [{Id, {start, Id, Flags, _}}] -> flags(Flags);
        [{Id, {change, Flags, _}}] -> Flags
    end.

%% A code change whose init says something new: by this OTP's own tests change a supervisor, too.
change(Pid, Id, Flags, Specs) ->
    [{Id, Old}] = ets:lookup(args, Id),
    New = {change, Flags, Specs},
    ok = sys:suspend(Pid),
    sys:replace_state(Pid, fun(State) -> replace(Old, New, State) end),
    Result = sys:change_code(Pid, supervisor, undefined, []),
    Kept = case Result of
               ok -> New;
               {error, _} ->
                   sys:replace_state(Pid, fun(State) -> replace(New, Old, State) end),
                   Old
           end,
    ets:insert(args, {Id, Kept}),
    ok = sys:resume(Pid),
    Result.

replace(Old, New, State) ->
    Fields = tuple_to_list(State),
    true = lists:member(Old, Fields),
    list_to_tuple([case Field of
                       Old -> New;
                       _ -> Field
                   end || Field <- Fields]).

%% The process of a worker or supervisor that runs.
living(Id) ->
    case ets:lookup(pids, Id) of
        [{Id, Pid}] ->
            case is_process_alive(Pid) of
                true -> Pid;
                false -> none
            end;
        [] ->
            none
    end.

%% Supervisors and workers.

init({start, Id, Flags, Specs} = Args) ->
    note({started, Id}),
    ets:insert(args, {Id, Args}),
    keep_pid(Id, self()),
    case Flags of
        {simple_one_for_one, _, _, _} ->
            [{_, Restart, _, worker}] = Specs,
            Template = #{id => template, start => {?MODULE, start_worker, [Id]},
                         restart => Restart, shutdown => infinity},
            ets:insert(templates, {Id, Template}),
            {ok, {flags(Flags), [Template]}};
        _ ->
            {ok, {flags(Flags), [spec(Spec) || Spec <- Specs]}}
    end;
init({change, Flags, Specs}) ->
    {ok, {Flags, Specs}}.

flags({Strategy, Intensity, Period, AutoShutdown}) ->
    #{strategy => Strategy, intensity => Intensity, period => Period,
      auto_shutdown => AutoShutdown}.

spec({Id, Restart, Significant, Kind}) ->
    {Start, Type} =
        case Kind of
            worker ->
                {{?MODULE, start_worker, [none, Id]}, worker};
            {Flags, Specs} ->
                {{supervisor, start_link, [?MODULE, {start, Id, Flags, Specs}]}, supervisor}
        end,
    Spec = #{id => Id, start => Start, restart => Restart, significant => Significant,
             shutdown => infinity, type => Type},
    ets:insert(specs, {Id, Spec}),
    Spec.

%% Owner is the dynamic supervisor that the worker belongs to, or none.
start_worker(Owner, Id) ->
    case fate(Id) of
        up ->
            {ok, Pid} = proc_lib:start_link(?MODULE, worker, [Owner, Id, self()]),
            keep_pid(Id, Pid),
            note({started, Id}),
            {ok, Pid};
        fails ->
            note({failed, Id}),
            {error, as_was_wished};
        ignored ->
            note({ignored, Id}),
            ignore
    end.

worker(Owner, Id, Supervisor) ->
    process_flag(trap_exit, true),
    proc_lib:init_ack(Supervisor, {ok, self()}),
    receive
        {ends, Exit} ->
            exit(Exit);
        {'EXIT', Supervisor, Reason} ->
            note({stopped, Id, Owner}),
            exit(Reason)
    end.

fate(Id) ->
    case ets:lookup(fates, Id) of
        [{Id, [Fate | Rest]}] ->
            ets:insert(fates, {Id, Rest}),
            Fate;
        _ ->
            up
    end.

keep_pid(Id, Pid) ->
    ets:insert(pids, {Id, Pid}),
    ets:insert(ids, {Pid, Id}).

%% A table takes notes of all processes in the order in which they are made.
note(What) ->
    ets:insert(log, {ets:update_counter(clock, clock, 1), What}).

%% What is seen.

show(Seed, Step, Root) ->
    Listed = settled(Root, 10000),
    Log = sorted([What || {_, What} <- ets:tab2list(log)]),
    ets:delete_all_objects(log),
    io:format("~b ~b ~s|~s~n", [Seed, Step, [done(What) || What <- Log], Listed]).

%% The children that are stopped with their dynamic supervisor are stopped at once, in no order.
sorted([{stopped, _, Owner} = First | Rest]) when Owner =/= none ->
    IsToo = fun({stopped, _, Other}) -> Other =:= Owner;
               (_) -> false
            end,
    {Run, Others} = lists:splitwith(IsToo, Rest),
    lists:sort([First | Run]) ++ sorted(Others);
sorted([First | Rest]) ->
    [First | sorted(Rest)];
sorted([]) ->
    [].

done({started, Id}) -> io_lib:format("+~b ", [Id]);
done({failed, Id}) -> io_lib:format("!~b ", [Id]);
done({ignored, Id}) -> io_lib:format("~~~b ", [Id]);
done({stopped, Id, _}) -> io_lib:format("-~b ", [Id]).

%% Waits until the tree is at rest: nobody waits for a restart, and all processes that are listed
%% are alive. A supervisor that has not heard yet that its child is gone lists a dead process.
settled(Root, Tries) ->
    try list(0, Root)
    catch
        _:_ when Tries > 0 ->
            case is_process_alive(Root) of
                true ->
                    timer:sleep(1),
                    settled(Root, Tries - 1);
                false ->
                    " over"
            end
    end.

list(Id, Pid) ->
    Children = [child(Child) || Child <- lists:reverse(supervisor:which_children(Pid))],
    InOrder = case ets:member(templates, Id) of
                  true -> lists:sort(Children);
                  false -> Children
              end,
    Shown = [io_lib:format("~b~s", [Child, sign(Process)]) || {Child, Process, _} <- InOrder],
    Below = [list(Child, Process) || {Child, Process, supervisor} <- InOrder,
                                     Process =/= undefined],
    [io_lib:format(" ~b[~s]", [Id, lists:join(" ", Shown)]) | Below].

child({Id, undefined, Type, _}) when Id =/= undefined ->
    {Id, undefined, Type};
child({Id, Pid, Type, _}) when is_pid(Pid) ->
    true = is_process_alive(Pid),
    case Id of
        undefined -> {ets:lookup_element(ids, Pid, 2), Pid, Type};
        _ -> {Id, Pid, Type}
    end.

sign(undefined) -> "-";
sign(_) -> "+".
