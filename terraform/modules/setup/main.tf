# What must have happened before MLflow's first task: PostgreSQL's users and databases, then MLflow's tables and users.
# Both are jobs inside the network, where alone the database can be reached; both may run again at any time.
locals {
  name = var.context.name
  database_environment = {
    OWNERS        = jsonencode(var.databases)
    PGDATABASE    = "postgres"
    PGHOST        = var.database_address
    PGSSLMODE     = "verify-full"
    PGSSLROOTCERT = "/app/rds-ca.pem"
  }
  database_secrets = merge(
    {
      PGUSER     = "${var.master_secret_arn}:username::"
      PGPASSWORD = "${var.master_secret_arn}:password::"
    },
    { for user, arn in var.database_secret_arns : "PASSWORD_${user}" => "${arn}:password::" },
  )
  mlflow_secrets = {
    AUTH_DATABASE_URI        = "${var.database_secret_arns["mlflow_users"]}:url::"
    MLFLOW_BACKEND_STORE_URI = "${var.database_secret_arns["mlflow"]}:url::"
    USER_ADMIN               = var.application_secret_arns["mlflow-admin"]
    USER_GATEWAY             = var.application_secret_arns["mlflow-gateway"]
    USER_PIPELINES           = var.application_secret_arns["mlflow-pipelines"]
    USER_PROMOTION           = var.application_secret_arns["mlflow-promotion"]
  }
  # upgrade first: a new MLflow refuses tables of an older one
  mlflow_command = ["sh", "-c", "mlflow db upgrade \"$MLFLOW_BACKEND_STORE_URI\" && exec python users.py"]
}

resource "aws_cloudwatch_log_group" "setup" {
  #checkov:skip=CKV_AWS_338:30 days as asked for; decisions are kept in the database, not in logs
  name              = "/ecs/${local.name}/setup"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

module "database_execution" {
  source         = "../execution_role"
  context        = var.context
  name           = "database"
  repository_arn = var.images.pipelines.repository_arn
  log_group_arn  = aws_cloudwatch_log_group.setup.arn
  secret_arns    = concat([var.master_secret_arn], values(var.database_secret_arns))
  key_arn        = var.key_arn
}

module "mlflow_execution" {
  source         = "../execution_role"
  context        = var.context
  name           = "mlflow-setup"
  repository_arn = var.images.mlflow.repository_arn
  log_group_arn  = aws_cloudwatch_log_group.setup.arn
  secret_arns = [
    var.database_secret_arns["mlflow"], var.database_secret_arns["mlflow_users"],
    var.application_secret_arns["mlflow-admin"], var.application_secret_arns["mlflow-gateway"],
    var.application_secret_arns["mlflow-pipelines"], var.application_secret_arns["mlflow-promotion"],
  ]
  key_arn = var.key_arn
}

# This job alone knows the master's password, and it talks to PostgreSQL alone.
module "database_task" {
  source             = "../task"
  context            = var.context
  job                = "database"
  image              = var.images.pipelines.uri
  size               = { cpu = 256, memory = 512 }
  entry_point        = ["python", "-c"]
  command            = [file("${path.module}/create_databases.py")]
  environment        = local.database_environment
  secrets            = local.database_secrets
  execution_role_arn = module.database_execution.arn
  log_group          = aws_cloudwatch_log_group.setup.name
}

module "mlflow_task" {
  source             = "../task"
  context            = var.context
  job                = "mlflow-setup"
  image              = var.images.mlflow.uri
  size               = { cpu = 512, memory = 2048 }
  entry_point        = null
  command            = local.mlflow_command
  environment        = { HOME = "/tmp" }
  secrets            = local.mlflow_secrets
  execution_role_arn = module.mlflow_execution.arn
  log_group          = aws_cloudwatch_log_group.setup.name
}

# A new program, new passwords or a new image run the jobs again; everything else leaves them alone.
resource "terraform_data" "databases" {
  count            = var.run ? 1 : 0
  triggers_replace = [module.database_task.arn, var.secrets_version]
  # a job needs the cluster, and a network that reaches the database and AWS's services
  depends_on = [var.cluster_arn, var.subnet_ids, var.security_group_id]

  provisioner "local-exec" {
    command     = "\"$${PYTHON:-python3}\" run_job.py --name '${local.name}' database"
    working_dir = var.deploy_folder
    environment = { AWS_DEFAULT_REGION = var.context.region }
  }
}

resource "terraform_data" "mlflow" {
  count            = var.run ? 1 : 0
  triggers_replace = [module.mlflow_task.arn, var.secrets_version]
  depends_on       = [terraform_data.databases]

  provisioner "local-exec" {
    command     = "\"$${PYTHON:-python3}\" run_job.py --name '${local.name}' mlflow-setup"
    working_dir = var.deploy_folder
    environment = { AWS_DEFAULT_REGION = var.context.region }
  }
}
