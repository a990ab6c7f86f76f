# In the order in which things must exist: network, stores, database, its users and MLflow's, MLflow, gateway and jobs.
# What a module's outputs name is ready to be used; that is what makes Terraform wait.
data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  context = {
    name         = var.name
    account_id   = local.account_id
    partition    = local.partition
    region       = data.aws_region.current.name
    boundary_arn = "arn:${local.partition}:iam::${local.account_id}:policy/${var.name}-boundary"
  }
  log_days  = 30
  apprunner = var.compute == "apprunner"

  # empty: data/ in the platform's own bucket
  training_bucket = var.training_data == "" ? null : split("/", trimprefix(var.training_data, "s3://"))[0]
  training_data   = coalesce(var.training_data, "s3://${module.storage.bucket}/data/transactions.parquet")
  releases_uri    = "s3://${module.storage.bucket}/releases"

  # one namespace for each environment; the dimension is FRAUD_MODEL_NAME's default
  metrics = { namespace = var.name, dimensions = { Model = "fraud-ensemble" } }
}

module "network" {
  source              = "../modules/network"
  context             = local.context
  vpc_cidr            = var.vpc_cidr
  public_subnets      = !local.apprunner && !var.gateway.private
  client_cidrs        = var.gateway.private ? var.gateway.client_cidrs : local.apprunner ? [] : ["0.0.0.0/0"]
  apprunner_entrance  = local.apprunner && var.gateway.private
  mlflow_client_cidrs = var.mlflow_client_cidrs
  training_buckets    = local.training_bucket == null ? [] : [local.training_bucket]
  tunnel              = var.tunnel
}

module "storage" {
  source       = "../modules/storage"
  context      = local.context
  protect_data = var.protect_data
}

module "database" {
  source            = "../modules/database"
  providers         = { aws = aws, aws.secrets = aws.secrets }
  context           = local.context
  key               = { arn = module.storage.key_arn, id = module.storage.key_id }
  subnet_ids        = module.network.private_subnet_ids
  security_group_id = module.network.security_group_ids["database"]
  settings          = var.database
  log_days          = local.log_days
  protect_data      = var.protect_data
  secrets_version   = var.secrets_version
}

resource "aws_ecs_cluster" "platform" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

module "setup" {
  source                  = "../modules/setup"
  context                 = local.context
  run                     = var.setup_in_apply
  deploy_folder           = "${path.module}/../../deploy"
  cluster_arn             = aws_ecs_cluster.platform.arn
  subnet_ids              = module.network.private_subnet_ids
  security_group_id       = module.network.security_group_ids["jobs"]
  images                  = { pipelines = local.images["pipelines"], mlflow = local.images["mlflow"] }
  databases               = module.database.databases
  database_address        = module.database.address
  database_secret_arns    = module.database.database_secret_arns
  application_secret_arns = module.database.application_secret_arns
  master_secret_arn       = module.database.master_secret_arn
  secrets_version         = var.secrets_version
  key_arn                 = module.storage.key_arn
  log_days                = local.log_days
}

module "mlflow" {
  source                  = "../modules/mlflow"
  context                 = local.context
  image                   = local.images["mlflow"]
  size                    = { cpu = var.mlflow.cpu, memory = var.mlflow.memory }
  tls                     = var.mlflow_tls
  cluster_arn             = aws_ecs_cluster.platform.arn
  vpc_id                  = module.network.vpc_id
  subnet_ids              = module.network.private_subnet_ids
  security_group_ids      = module.network.security_group_ids
  bucket                  = module.storage.bucket
  bucket_policy           = data.aws_iam_policy_document.bucket_access["mlflow"].json
  database_secret_arns    = module.database.database_secret_arns
  application_secret_arns = module.database.application_secret_arns
  secrets_version         = module.setup.secrets_version
  key_arn                 = module.storage.key_arn
  log_days                = local.log_days
  protect_data            = var.protect_data
}

module "jobs" {
  source                  = "../modules/jobs"
  context                 = local.context
  images                  = { gateway = local.images["gateway"], pipelines = local.images["pipelines"] }
  sizes                   = var.jobs.sizes
  environment             = var.jobs.environment
  gateway_environment     = local.gateway_environment
  cluster_arn             = aws_ecs_cluster.platform.arn
  subnet_ids              = module.network.private_subnet_ids
  security_group_id       = module.network.security_group_ids["jobs"]
  bucket_arn              = module.storage.bucket_arn
  pipelines_bucket_policy = data.aws_iam_policy_document.bucket_access["pipelines"].json
  releases_uri            = local.releases_uri
  training_data           = local.training_data
  mlflow_url              = module.mlflow.url
  trusted_keys            = var.trusted_keys
  database_secret_arns    = module.database.database_secret_arns
  application_secret_arns = module.database.application_secret_arns
  key_arn                 = module.storage.key_arn
  key_id                  = module.storage.key_id
  retraining_schedule     = var.retraining.schedule
  monitoring_hours        = var.monitoring_hours
  models_live             = var.models_live
  metric_namespace        = local.metrics.namespace
  foreign_log_groups      = local.gateway.foreign_log_groups
  tunnel                  = var.tunnel
  log_days                = local.log_days
}

module "alerting" {
  source  = "../modules/alerting"
  context = local.context
  key_id  = module.storage.key_id
  emails  = var.alarm_emails
  slack   = var.slack
  metrics = local.metrics
}

module "observability" {
  source               = "../modules/observability"
  context              = local.context
  metrics              = local.metrics
  gateway              = { log_group = local.gateway.log_group, metrics = local.gateway.metrics }
  mlflow_load_balancer = module.mlflow.load_balancer
  database_identifier  = module.database.identifier
  most_connections     = var.database.most_connections
  undelivered_queue    = module.jobs.undelivered_queue
  topic_arn            = module.alerting.topic_arn
  models_live          = var.models_live
  retraining_days      = var.retraining.most_days
  monitoring_hours     = var.monitoring_hours
  budget               = var.monthly_budget
}

# A reminder on every plan, since nothing rings of a platform that is meant to be silent.
check "models_live" {
  assert {
    condition     = var.models_live
    error_message = "models_live is false: no schedule runs, no silence rings. Set it once a model is promoted."
  }
}
