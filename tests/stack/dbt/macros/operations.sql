{% macro look() %}
  {% set people = adapter.get_relation(database='lake', schema='dbt', identifier='people') %}
  {% do adapter.get_columns_in_relation(people) %}
  {% do adapter.expand_target_column_types(from_relation=people, to_relation=people) %}
  {% do run_query("select 1 as x -- it's; a comment") %}
{% endmacro %}

{% macro change() %}
  {% set gone = api.Relation.create(database='lake', schema='dbt', identifier='gone', type='table') %}
  {% do run_query('create table lake.dbt.gone (id bigint)') %}
  {% set later = api.Relation.create(database='lake', schema='dbt', identifier='later', type='table') %}
  {% do adapter.rename_relation(gone, later) %}
  {% do adapter.truncate_relation(later) %}
  {% do adapter.drop_relation(later) %}
{% endmacro %}

{% macro tidy_up(schema) %}
  {% do adapter.drop_schema(api.Relation.create(database='lake', schema=schema)) %}
{% endmacro %}

{% macro privileges() %}
  {% do run_query('show grants on lake.dbt.people') %}
{% endmacro %}
